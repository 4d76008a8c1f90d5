"""Trains LeNet-5 on scikit-learn's handwritten digits: convolutions and pooling by fastconv, forward and backward.

    python examples/train_lenet.py --output lenet.png

The network is that of LeCun et al., "Gradient-based learning applied to document recognition" (1998), with ReLU, max
pooling and softmax; its data is in fastconv/zoo/networks/lenet.txt.
"""

import sys

from digits import main

from fastconv import zoo

if __name__ == "__main__":
    sys.exit(main(zoo.network("lenet5"), __doc__))
