/* The input gradient as the transpose of im2col and its product.
 *
 * As a correlation, few channels fill no register tile, most taps of a pixel see padding where dy's planes are small beside
 * dx's, and each phase of a stride gathers dy again. One product gives what each tap adds for each pixel of dy, and a pixel
 * of dx is the sum of what reaches it (col2im), which is added up where it is stored. The product is of some images at a
 * time, whose columns stay in a thread's L2: a matrix of all would pass through memory twice.
 */
#include "conv_im2col_transposed.h"

#include "blocking.h"
#include "parallel.h"

/* Blocks of images: a task each, or one after the other by all threads. */
typedef struct {
    const fc_conv *conv;
    const fc_operands *operands;
    const fc_kernels *kernels;
    ptrdiff_t element, blocks;
    fc_view columns;             /* of a block, but for where they lie */
    int way;                     /* of all products */
    const char *packed;
    int phases;
    fc_col2im *phase;            /* but for the image and its part */
    size_t columns_bytes, scratch_bytes, room_bytes;
    char *scratch;               /* columns, and the product's workspace */
    char *room;                  /* of a thread, for three numbers a tap */
} transposed_job;

/* The input gradient of 1x1 filters, of which the weights have one for each channel of dx and tap. */
static fc_correlation product_of(const transposed_job *job, ptrdiff_t first, ptrdiff_t images, char *columns, fc_tap *tap)
{
    const fc_conv *p = job->conv;
    const fc_view *dy = &job->operands->x;
    const fc_conv conv = {
        .dtype = p->dtype, .layout = p->layout, .groups = p->groups,
        .n = images, .c = p->c * p->kh * p->kw, .h = p->oh, .w = p->ow,
        .k = p->k, .kh = 1, .kw = 1, .oh = p->oh, .ow = p->ow,
        .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1,
    };
    fc_operands operands = {.x = *dy, .y = job->columns, .w = job->operands->w};
    operands.x.data = (const char *)dy->data + first * dy->stride[0] * job->element;
    operands.y.data = columns;
    fc_correlation c;
    fc_correlation_of(&conv, FC_BACKWARD_INPUT, 0, &operands, &fc_algorithm_im2col, tap, &c);
    c.way = job->way;
    c.packed = job->packed;
    return c;
}

typedef struct {
    const transposed_job *job;
    ptrdiff_t first;             /* image */
    ptrdiff_t parts;             /* of an image, for threads */
    const char *columns;
} column_block;

/* Some channels of an image, or with NHWC some rows of a group. */
static void sum_part(void *context, ptrdiff_t task, int thread)
{
    const column_block *block = context;
    const transposed_job *job = block->job;
    const fc_conv *p = job->conv;
    const int nhwc = p->layout == FC_NHWC;
    const ptrdiff_t n = task / block->parts, part = task % block->parts, element = job->element;
    const ptrdiff_t *columns = job->columns.stride, *dx = job->operands->y.stride;
    ptrdiff_t first, channels, row_block = 0, row_blocks = 1;
    if (nhwc) {
        row_blocks = block->parts / p->groups, row_block = part % row_blocks;
        channels = p->c / p->groups, first = part / row_blocks * channels;
    } else {
        first = fc_part(p->c, block->parts, part), channels = fc_part(p->c, block->parts, part + 1) - first;
    }
    for (int i = 0; i < job->phases; i++) {
        fc_col2im s = job->phase[i];
        s.first_row = fc_part(s.y_rows, row_blocks, row_block);
        s.y_rows = fc_part(s.y_rows, row_blocks, row_block + 1) - s.first_row;
        s.channels = channels;
        s.from = block->columns + (n * columns[0] + first * p->kh * p->kw * columns[1]) * element;
        s.y = (char *)s.y + ((block->first + n) * dx[0] + first * dx[1] + s.first_row * s.y_row) * element;
        s.bias = job->operands->bias ? (const char *)job->operands->bias + first * element : NULL;
        (nhwc ? job->kernels->col2im_pixels : job->kernels->col2im_planes)(&s, job->room + (size_t)thread * job->room_bytes);
    }
}

static void compute_block(const transposed_job *job, ptrdiff_t i, int threads, int thread)
{
    const fc_conv *p = job->conv;
    char *columns = job->scratch + (size_t)thread * job->scratch_bytes;
    const int nhwc = p->layout == FC_NHWC;
    const ptrdiff_t first = fc_part(p->n, job->blocks, i), images = fc_part(p->n, job->blocks, i + 1) - first;
    fc_tap tap;
    const fc_correlation product = product_of(job, first, images, columns, &tap);
    fc_workspace own = {.base = columns + job->columns_bytes};
    fc_algorithm_im2col.correlate(&product, threads, &own);
    const ptrdiff_t units = nhwc ? p->groups : 1;
    const ptrdiff_t wanted = threads > 1 ? fc_ceil_div(4 * threads, images * units) : 1;
    column_block block = {job, first, units * fc_min(nhwc ? p->h : p->c, wanted), columns};
    const ptrdiff_t tasks = images * block.parts;
    if (threads > 1)
        fc_parallel_for(threads, tasks, sum_part, &block);
    else
        for (ptrdiff_t task = 0; task < tasks; task++)
            sum_part(&block, task, thread);
}

static void run_block(void *context, ptrdiff_t block, int thread) { compute_block(context, block, 1, thread); }

/* Every tap is of one phase. */
static void fill_phases(transposed_job *job, fc_tap *tap, ptrdiff_t *list)
{
    const fc_conv *p = job->conv;
    const int nhwc = p->layout == FC_NHWC;
    const ptrdiff_t channels = p->c / p->groups, count = fc_correlation_count(p, FC_BACKWARD_INPUT);
    const ptrdiff_t plane = nhwc ? channels : p->oh * p->ow, weights = nhwc ? channels * p->k : 1;
    for (ptrdiff_t i = 0; i < count; i++) {
        fc_correlation c;
        fc_correlation_of(p, FC_BACKWARD_INPUT, i, job->operands, &fc_algorithm_im2col, tap, &c);
        if (c.taps == 0)
            continue;
        ptrdiff_t *h = list, *w = h + c.taps, *planes = w + c.taps;
        list = planes + c.taps;
        for (ptrdiff_t t = 0; t < c.taps; t++) {
            h[t] = c.tap[t].h, w[t] = c.tap[t].w;
            planes[t] = c.tap[t].weight / weights * plane;
        }
        job->phase[job->phases++] = (fc_col2im){
            .rows = p->oh, .columns = p->ow, .pixel = job->columns.stride[3],
            .from_channel = plane * p->kh * p->kw, .y_channel = c.y_c,
            .taps = c.taps, .tap_h = h, .tap_w = w, .tap_plane = planes,
            .y_rows = c.oh, .y_columns = c.ow, .y_row = c.y_h, .y_column = c.y_w, .y = c.y,
        };
    }
}

void fc_transposed_operate(const fc_conv *conv, fc_operation operation, const fc_operands *operands, int threads,
                           fc_workspace *workspace)
{
    const fc_conv_algorithm *im2col = &fc_algorithm_im2col;
    const ptrdiff_t taps = conv->kh * conv->kw, count = fc_correlation_count(conv, operation);
    transposed_job job = {.conv = conv, .operands = operands, .kernels = fc_kernels_for(conv->dtype)};
    job.element = conv->dtype == FC_F32 ? sizeof(float) : sizeof(double);
    job.columns = fc_dense_view(NULL, conv->layout, conv->c * taps, conv->oh, conv->ow);
    const ptrdiff_t image_bytes = job.columns.stride[0] * job.element;
    job.blocks = fc_ceil_div(conv->n, fc_max(1, FC_COLUMNS_BYTES / image_bytes));
    /* Larger images would be two in L3. */
    const int apart = job.blocks >= 2 * threads && image_bytes <= FC_COLUMNS_BYTES;
    const ptrdiff_t images = fc_ceil_div(conv->n, job.blocks);
    fc_tap of_product;
    fc_correlation product = product_of(&job, 0, images, NULL, &of_product);
    fc_choose_way(&product, im2col, FC_FORWARD);
    job.way = product.way;
    const fc_packing *packing = im2col->packing(&product);
    char *packed = packing ? fc_take(workspace, packing->bytes(&product)) : NULL;
    job.packed = packing ? (const char *)packing : NULL;  /* sizes are as if they were there */
    size_t most = 0;
    for (int smaller = 0; smaller < 2; smaller++) {
        const fc_correlation sized = product_of(&job, 0, fc_max(1, images - smaller), NULL, &of_product);
        fc_workspace own = {0};
        im2col->correlate(&sized, apart ? 1 : threads, &own);
        most = own.used > most ? own.used : most;
    }
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(images * image_bytes));
    job.columns_bytes = sizes.used;
    fc_take(&sizes, most);
    job.scratch_bytes = sizes.used;
    job.scratch = fc_take_scratch(workspace, apart ? threads : 1, &job.scratch_bytes);
    fc_tap *tap = fc_take(workspace, (size_t)taps * sizeof *tap);
    ptrdiff_t *list = fc_take(workspace, 3 * (size_t)taps * sizeof *list);
    job.phase = fc_take(workspace, (size_t)count * sizeof *job.phase);
    job.room_bytes = 3 * (size_t)taps * sizeof(ptrdiff_t);
    job.room = fc_take_scratch(workspace, threads, &job.room_bytes);
    if (!workspace->base)
        return;
    fill_phases(&job, tap, list);
    if (packing)
        packing->pack(&product, threads, packed);
    job.packed = packed;
    if (apart)
        fc_parallel_for(threads, job.blocks, run_block, &job);
    else
        for (ptrdiff_t block = 0; block < job.blocks; block++)
            compute_block(&job, block, threads, 0);
}

/* Not where taps give one image more than is kept. */
int fc_serves_transposed(const fc_correlation *c)
{
    return c->kernel_taps > 1 && (double)(c->groups * c->m) * (double)c->kernel_taps * (double)(c->h * c->w) *
                                         (double)c->element <= FC_COLUMNS_MOST_BYTES;
}

/* What product_of makes of a phase, for an estimate. */
static fc_correlation product_for(const fc_correlation *c, fc_tap *tap)
{
    const int nhwc = c->layout == FC_NHWC;
    fc_correlation product = *c;
    product.m = c->m * c->kernel_taps;
    product.taps = product.kernel_taps = 1, product.tap = tap;
    product.oh = c->h, product.ow = c->w;
    product.w_m = nhwc ? c->w_m : 1;
    fc_view columns = fc_dense_view(NULL, c->layout, c->groups * product.m, c->h, c->w);
    if (c->groups * c->h * c->w == 1) {  /* a pixel an image: a matrix, as correlation.c has it */
        product.layout = FC_NHWC, product.order = FC_BY_CHANNEL;
        product.w_q = nhwc ? product.w_q : product.m;
        product.w = product.ow = c->n, product.n = 1;
        product.x_c = 1, product.x_w = c->x_n;
        columns.stride[1] = 1, columns.stride[3] = columns.stride[0];
        columns.stride[0] = columns.stride[2] = c->n * columns.stride[0];
    }
    product.y_n = columns.stride[0], product.y_c = columns.stride[1];
    product.y_h = columns.stride[2], product.y_w = columns.stride[3];
    return product;
}

/* Adding up an image's phase: rows of a tap, and rows of outputs, whose pixels if they lie apart are stored one by one. */
static double plane_sums_cycles(const fc_correlation *c)
{
    const ptrdiff_t lanes = c->kernels->lanes, vectors = fc_ceil_div(c->w, lanes), outputs = fc_ceil_div(c->ow, lanes);
    const double tap_row = 1.5 * (double)vectors + 0.045 * (double)c->w * (double)c->element;
    const double row = 6 * (double)outputs + (c->y_w == 1 ? 0 : 0.5 * (double)c->ow);
    return (double)c->m * ((double)(c->taps * c->h) * tap_row + (double)c->oh * row);
}

/* The same with NHWC: vectors of a pixel's channels. */
static double pixel_sums_cycles(const fc_correlation *c)
{
    const ptrdiff_t vectors = fc_ceil_div(c->m, c->kernels->lanes);
    return 4 * (double)(c->taps * c->h * c->w * vectors) + 8 * (double)(c->oh * c->ow * vectors);
}

/* The phase's share of the product, and what is added up. Fits to 240 random problems. */
double fc_transposed_cycles(const fc_correlation *c)
{
    const int nhwc = c->layout == FC_NHWC;
    fc_tap tap = {0, 0, 0};
    fc_correlation product = product_for(c, &tap);
    const double share = (double)c->taps / (double)c->kernel_taps * fc_algorithm_im2col.cycles(&product, FC_FORWARD);
    fc_choose_way(&product, &fc_algorithm_im2col, FC_FORWARD);
    /* Of OIHW weights from memory, a few of a row are packed before the next row's, pages behind it. */
    const double weights = (double)(c->groups * c->m * c->q) * (double)c->taps;
    const double weight = !nhwc && weights * (double)c->element > FC_FAR_BYTES ? 5 : 0.4;
    const double packing = fc_algorithm_im2col.packing(&product) ? weight * weights : 0;
    const double sums = nhwc ? pixel_sums_cycles(c) : plane_sums_cycles(c);
    return share + packing + (double)(c->n * c->groups) * sums;
}
