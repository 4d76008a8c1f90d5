"""Trains a small AlexNet on scikit-learn's handwritten digits: local response normalisation, forward and backward.

    python examples/train_alexnet.py --output alexnet.png

Five convolutions, three overlapping pools, two normalisations, three fully connected layers, as in Krizhevsky et al.,
"ImageNet Classification with Deep Convolutional Neural Networks" (2012), with few filters for 32x32 digits.
"""

import sys

from digits import main

from fastconv import zoo

(NET,) = zoo.parse("""
small-alexnet: c1 h32
    conv1 k16 r5 p2, pool1 r3 u2, norm1 size5 alpha5e-4 beta0.75 k2
    conv2 k32 r5 p2, pool2 r3 u2, norm2 size5 alpha5e-4 beta0.75 k2
    conv3 k48 r3 p1
    conv4 k48 r3 p1
    conv5 k32 r3 p1, pool3 r3 u2
    fc6 k128, fc7 k128, fc8 k10 linear
""")

if __name__ == "__main__":
    sys.exit(main(NET, __doc__))
