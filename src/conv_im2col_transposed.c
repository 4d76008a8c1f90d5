/* The input gradient as the transpose of im2col and its product.
 *
 * As a correlation, few channels fill no register tile, most taps of a pixel see padding where dy's planes are small beside
 * dx's, and each phase of a stride gathers dy again. One product gives what each tap adds for each pixel of dy, and a pixel
 * of dx is the sum of what reaches it (col2im), which is added up where it is stored. The product is of some images at a
 * time, whose columns stay in a thread's L2: a matrix of all would pass through memory twice.
 */
#include "conv_im2col_transposed.h"

#include "blocking.h"
#include "gemm.h"
#include "parallel.h"

/* Blocks of images, a task each, or one after the other by all threads; or parts of each group's channels, a task each. */
typedef struct {
    const fc_conv *conv;
    const fc_operands *operands;
    const fc_kernels *kernels;
    ptrdiff_t element, blocks;
    ptrdiff_t parts;             /* or 0 */
    fc_view columns;             /* of a block, but for where they lie */
    int way;                     /* of all products */
    char *packed;                /* all weights, or in each thread's room those of its task's channels */
    size_t packed_bytes;
    int phases;
    fc_col2im *phase;            /* but for the image and its part */
    size_t columns_bytes, scratch_bytes, room_bytes;
    char *scratch;               /* columns, and the product's workspace */
    char *room;                  /* of a thread, for three numbers a tap */
} transposed_job;

/* What a product is of: images, and channels of as many groups. */
typedef struct {
    ptrdiff_t image, images, group, groups, channel, channels;  /* channels of a group */
} product_part;

/* The input gradient of 1x1 filters, of which the weights have one for each channel of dx and tap. */
static fc_correlation product_of(const transposed_job *job, const product_part *part, char *columns, fc_tap *tap)
{
    const fc_conv *p = job->conv;
    const fc_view *dy = &job->operands->x;
    const ptrdiff_t taps = p->kh * p->kw, filters = p->k / p->groups, channels = p->c / p->groups;
    const fc_conv conv = {
        .dtype = p->dtype, .layout = p->layout, .groups = part->groups,
        .n = part->images, .c = part->groups * part->channels * taps, .h = p->oh, .w = p->ow,
        .k = part->groups * filters, .kh = 1, .kw = 1, .oh = p->oh, .ow = p->ow,
        .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1,
    };
    const ptrdiff_t first = part->image * dy->stride[0] + part->group * filters * dy->stride[1];
    const ptrdiff_t weight = (part->group * filters * channels + part->channel) * taps;  /* with NHWC all groups' are first */
    fc_operands operands = {.x = *dy, .y = job->columns, .w = (const char *)job->operands->w + weight * job->element};
    operands.x.data = (const char *)dy->data + first * job->element;
    operands.y.data = columns;
    fc_correlation c;
    fc_correlation_of(&conv, FC_BACKWARD_INPUT, 0, &operands, &fc_algorithm_im2col, tap, &c);
    if (part->channels < channels)
        c.w_q = channels * taps;
    c.way = job->way;
    return c;
}

/* Some channels of an image, and of them a block of rows. */
typedef struct {
    ptrdiff_t image, channel, channels, row_block, row_blocks;
} sum_of;

/* From the columns of the first channel. */
static void add_up(const transposed_job *job, const sum_of *part, const char *columns, int thread)
{
    const ptrdiff_t *dx = job->operands->y.stride, element = job->element;
    for (int i = 0; i < job->phases; i++) {
        fc_col2im s = job->phase[i];
        s.first_row = fc_part(s.y_rows, part->row_blocks, part->row_block);
        s.y_rows = fc_part(s.y_rows, part->row_blocks, part->row_block + 1) - s.first_row;
        s.channels = part->channels;
        s.from = columns;
        s.y = (char *)s.y + (part->image * dx[0] + part->channel * dx[1] + s.first_row * s.y_row) * element;
        s.bias = job->operands->bias ? (const char *)job->operands->bias + part->channel * element : NULL;
        (job->conv->layout == FC_NHWC ? job->kernels->col2im_pixels : job->kernels->col2im_planes)(
            &s, job->room + (size_t)thread * job->room_bytes);
    }
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
    const ptrdiff_t n = task / block->parts, part = task % block->parts, *columns = job->columns.stride;
    sum_of sum = {.image = block->first + n, .row_blocks = 1};
    if (p->layout == FC_NHWC) {
        sum.row_blocks = block->parts / p->groups, sum.row_block = part % sum.row_blocks;
        sum.channels = p->c / p->groups, sum.channel = part / sum.row_blocks * sum.channels;
    } else {
        sum.channel = fc_part(p->c, block->parts, part);
        sum.channels = fc_part(p->c, block->parts, part + 1) - sum.channel;
    }
    add_up(job, &sum, block->columns + (n * columns[0] + sum.channel * p->kh * p->kw * columns[1]) * job->element, thread);
}

static product_part whole_images(const fc_conv *p, ptrdiff_t image, ptrdiff_t images)
{
    return (product_part){.image = image, .images = images, .groups = p->groups, .channels = p->c / p->groups};
}

static void compute_block(const transposed_job *job, ptrdiff_t i, int threads, int thread)
{
    const fc_conv *p = job->conv;
    char *columns = job->scratch + (size_t)thread * job->scratch_bytes;
    const int nhwc = p->layout == FC_NHWC;
    const ptrdiff_t first = fc_part(p->n, job->blocks, i), images = fc_part(p->n, job->blocks, i + 1) - first;
    fc_tap tap;
    const product_part part = whole_images(p, first, images);
    fc_correlation product = product_of(job, &part, columns, &tap);
    product.packed = job->packed;
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

/* Some channels of a group, image by image: a thread adds up what it has multiplied. */
static void run_channels(void *context, ptrdiff_t task, int thread)
{
    const transposed_job *job = context;
    const fc_conv *p = job->conv;
    const ptrdiff_t channels = p->c / p->groups, i = task % job->parts;
    product_part part = {.images = 1, .group = task / job->parts, .groups = 1, .channel = fc_part(channels, job->parts, i)};
    part.channels = fc_part(channels, job->parts, i + 1) - part.channel;
    char *packed = job->packed + (size_t)thread * job->packed_bytes;
    char *columns = job->scratch + (size_t)thread * job->scratch_bytes;
    for (; part.image < p->n; part.image++) {
        fc_tap tap;
        fc_correlation product = product_of(job, &part, columns, &tap);
        if (part.image == 0)
            fc_algorithm_im2col.packing(&product)->pack(&product, 1, packed);
        product.packed = packed;
        fc_workspace own = {.base = columns + job->columns_bytes};
        fc_algorithm_im2col.correlate(&product, 1, &own);
        const sum_of sum = {part.image, part.group * channels + part.channel, part.channels, 0, 1};
        add_up(job, &sum, columns, thread);
    }
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

/* Parts of a group's channels for a few images, whose columns else pass from the threads that multiply to those that add up;
 * 0 if that would leave threads much less to do, or if a part had few rows for the pixels that each gathers again. */
static ptrdiff_t choose_parts(const transposed_job *job, int threads)
{
    const fc_conv *p = job->conv;
    const ptrdiff_t channels = p->c / p->groups, taps = p->kh * p->kw;
    const ptrdiff_t bytes = channels * taps * p->oh * p->ow * job->element;
    const ptrdiff_t parts = fc_min(channels, fc_max(fc_ceil_div(threads, p->groups), fc_ceil_div(bytes, FC_COLUMNS_BYTES)));
    const ptrdiff_t most = fc_ceil_div(channels, parts), longest = fc_ceil_div(parts * p->groups, threads) * most;
    const int is_even = 5 * longest * threads <= 6 * p->c;
    const int is_image = p->layout == FC_NCHW && p->oh * p->ow > 1;
    return threads > 1 && is_image && is_even && most * taps >= FC_COLUMNS_ROWS ? parts : 0;
}

/* Scratch for a thread's columns and products, of the sizes that there are. */
static void size_products(transposed_job *job, const product_part *largest, int threads)
{
    const fc_conv *p = job->conv;
    const ptrdiff_t rows = largest->groups * largest->channels * p->kh * p->kw;
    size_t most = 0;
    for (int smaller = 0; smaller < 2; smaller++) {
        product_part part = *largest;
        if (job->parts)
            part.channels = fc_max(1, part.channels - smaller);
        else
            part.images = fc_max(1, part.images - smaller);
        fc_tap tap;
        fc_correlation sized = product_of(job, &part, NULL, &tap);
        const fc_packing *packing = fc_algorithm_im2col.packing(&sized);
        if (packing && smaller == 0)
            job->packed_bytes = packing->bytes(&sized);
        sized.packed = packing ? (const char *)packing : NULL;  /* as if they were there */
        fc_workspace own = {0};
        fc_algorithm_im2col.correlate(&sized, threads, &own);
        most = own.used > most ? own.used : most;
    }
    fc_workspace sizes = {0};
    fc_take(&sizes, (size_t)(largest->images * rows * p->oh * p->ow * job->element));
    job->columns_bytes = sizes.used;
    fc_take(&sizes, most);
    job->scratch_bytes = sizes.used;
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
    const product_part block = whole_images(conv, 0, fc_ceil_div(conv->n, job.blocks));
    fc_tap of_product;
    fc_correlation product = product_of(&job, &block, NULL, &of_product);
    fc_choose_way(&product, im2col, FC_FORWARD);
    job.way = product.way;
    const fc_packing *packing = im2col->packing(&product);
    job.parts = apart || !packing ? 0 : choose_parts(&job, threads);
    const product_part part = {.images = 1, .groups = 1, .channels = fc_ceil_div(conv->c / conv->groups, fc_max(job.parts, 1))};
    size_products(&job, job.parts ? &part : &block, apart || job.parts ? 1 : threads);
    if (job.parts)
        job.packed = fc_take_scratch(workspace, threads, &job.packed_bytes);
    else if (packing)
        job.packed = fc_take(workspace, job.packed_bytes);
    const ptrdiff_t tasks = job.parts ? conv->groups * job.parts : job.blocks;
    job.scratch = fc_take_scratch(workspace, apart || job.parts ? threads : 1, &job.scratch_bytes);
    fc_tap *tap = fc_take(workspace, (size_t)taps * sizeof *tap);
    ptrdiff_t *list = fc_take(workspace, 3 * (size_t)taps * sizeof *list);
    job.phase = fc_take(workspace, (size_t)count * sizeof *job.phase);
    job.room_bytes = 3 * (size_t)taps * sizeof(ptrdiff_t);
    job.room = fc_take_scratch(workspace, threads, &job.room_bytes);
    if (!workspace->base)
        return;
    fill_phases(&job, tap, list);
    if (packing && !job.parts)
        packing->pack(&product, threads, job.packed);
    if (apart || job.parts)
        fc_parallel_for(threads, tasks, job.parts ? run_channels : run_block, &job);
    else
        for (ptrdiff_t i = 0; i < job.blocks; i++)
            compute_block(&job, i, threads, 0);
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
    return fc_copy_passes() * (4 * (double)(c->taps * c->h * c->w * vectors) + 8 * (double)(c->oh * c->ow * vectors));
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
