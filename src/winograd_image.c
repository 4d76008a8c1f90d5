/* Tiles in Winograd's domain: rows of pixels are copied with a vector of channels side by side, so that all lanes are
 * filled whatever the image, and transformed. */
#include "im2col.h"
#include "winograd.h"

static void clear(const fc_correlation *c, char *to, ptrdiff_t elements)
{
    c->kernels->pack_runs(to, 0, c->x, 0, 1, 1, NULL, 0, elements);
}

static ptrdiff_t image_columns(const fc_winograd_plan *plan, int side)
{
    return plan->tiles_w * plan->m + side - plan->m;
}

size_t fc_winograd_image_bytes(const fc_winograd_plan *plan)
{
    const ptrdiff_t rows = plan->image_rows * plan->m + plan->size - plan->m;
    return (size_t)(rows * image_columns(plan, plan->size) * plan->c.kernels->lanes) * plan->c.element;
}

/* A lane whose channel is a phase of a plane: where that begins, the row it begins at, and the columns inside. */
typedef struct {
    const char *phase;
    ptrdiff_t row, from, end;
} phase_lane;

static void begin_lanes(const fc_correlation *c, const fc_winograd_planes *p, const char *plane, ptrdiff_t first,
                        ptrdiff_t count, ptrdiff_t columns, phase_lane *lane)
{
    const ptrdiff_t phases = p->stride_h * p->stride_w;
    for (ptrdiff_t i = 0; i < count; i++, lane++) {
        const ptrdiff_t phase = (first + i) % phases, w = p->low_w + phase % p->stride_w;
        lane->row = p->low_h + phase / p->stride_w;
        fc_valid_outputs(columns, p->stride_w, w, p->width, &lane->from, &lane->end);
        lane->phase = fc_at(c, plane, (first + i) / phases * p->c + lane->row * p->h + w * p->w);
    }
}

/* One row of phases' pixels, a lane each. Where their edges differ, columns are filled one by one. */
static void fill_phases(const fc_correlation *c, const fc_winograd_planes *p, const phase_lane *lane, ptrdiff_t count,
                        ptrdiff_t row, ptrdiff_t columns, char *image)
{
    const ptrdiff_t lanes = c->kernels->lanes, step = p->stride_w * p->w;
    ptrdiff_t from = 0, end = columns, first = columns, last = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        from = fc_max(from, lane[i].from), end = fc_min(end, lane[i].end);
        first = fc_min(first, lane[i].from), last = fc_max(last, lane[i].end);
    }
    first = fc_min(first, last);
    clear(c, image, first * lanes);
    clear(c, fc_at(c, image, last * lanes), (columns - last) * lanes);
    for (ptrdiff_t j = first, next; j < last; j = next) {
        next = j >= from && j < end ? end : j + 1;
        const void *channel[64] = {NULL};
        for (ptrdiff_t i = 0; i < count; i++) {
            const ptrdiff_t h = lane[i].row + row * p->stride_h;
            if (h >= 0 && h < p->height && j >= lane[i].from && j < lane[i].end)
                channel[i] = fc_at(c, lane[i].phase, row * p->stride_h * p->h + j * step);
        }
        c->kernels->pack_columns(fc_at(c, image, j * lanes), lanes, channel, (int)lanes, next - j > 1 ? step : 0,
                                 next - j);
    }
}

/* `height` rows of an image's channels from `channel` on; `top` is the first, counted from where tiles begin. */
static void fill_image(const fc_correlation *c, const fc_winograd_planes *p, const char *plane, ptrdiff_t channel,
                       ptrdiff_t count, ptrdiff_t top, ptrdiff_t height, ptrdiff_t columns, char *image)
{
    const ptrdiff_t row_step = columns * c->kernels->lanes;
    if (p->stride_h * p->stride_w > 1) {
        phase_lane lane[64];
        begin_lanes(c, p, plane, channel, count, columns, lane);
        for (ptrdiff_t i = 0; i < height; i++)
            fill_phases(c, p, lane, count, top + i, columns, fc_at(c, image, i * row_step));
        return;
    }
    fc_winograd_rows in = {
        .channel_step = p->c, .row_step = p->h, .column_step = p->w, .channels = (int)count, .image = image,
    };
    ptrdiff_t left, right, first, last;
    fc_valid_outputs(columns, 1, p->low_w, p->width, &left, &right);
    fc_valid_outputs(height, 1, p->low_h + top, p->height, &first, &last);
    if (left == right || first == last) {
        in.before = height * columns;
    } else {
        in.pixels = fc_at(c, plane, channel * p->c + (p->low_h + top + first) * p->h + (p->low_w + left) * p->w);
        in.rows = last - first, in.columns = right - left;
        in.between = columns - in.columns;
        in.before = first * columns + left;
        in.after = (height - last) * columns + columns - right;
    }
    c->kernels->winograd_rows(&in);
}

static void transform_rows(const fc_winograd_plan *plan, const fc_winograd_planes *p, const char *plane,
                           ptrdiff_t channel, ptrdiff_t count, const fc_winograd_block *block, ptrdiff_t first,
                           ptrdiff_t rows, char *image, char *to, fc_winograd_lanes *lanes)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t columns = image_columns(plan, p->side), height = rows * plan->m + p->side - plan->m;
    const ptrdiff_t row = (block->first_row + first) % plan->tiles_h;
    fill_image(c, p, plane, channel, count, row * plan->m, height, columns, image);
    lanes->row_step = columns * c->kernels->lanes;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const fc_winograd_place place = fc_winograd_place_of(plan, block, first + i);
        lanes->image = fc_at(c, image, i * plan->m * lanes->row_step);
        lanes->height = place.height;
        lanes->transformed = fc_at(c, to, place.first * lanes->ld);
        lanes->edge = plan->edge_w ? fc_at(c, to, place.edge * lanes->ld) : NULL;
        p->transform(lanes);
    }
}

void fc_winograd_transform_tiles(const fc_winograd_plan *plan, const fc_winograd_planes *p, ptrdiff_t channel,
                                 ptrdiff_t count, const fc_winograd_block *block, ptrdiff_t row, ptrdiff_t rows,
                                 char *image, char *to, ptrdiff_t ld, ptrdiff_t point_step)
{
    fc_winograd_lanes lanes = {
        .size = plan->size, .m = plan->m, .tiles = plan->tiles_w, .ld = ld, .point_step = point_step,
        .edge_width = plan->edge_w,
    };
    const ptrdiff_t end = row + rows;
    for (ptrdiff_t part; row < end; row += part) {
        const ptrdiff_t at = block->first_row + row, n = at / plan->tiles_h;
        part = fc_min(fc_min(plan->tiles_h - at % plan->tiles_h, end - row), plan->image_rows);
        transform_rows(plan, p, fc_at(&plan->c, p->data, n * p->n), channel, count, block, row, part, image, to, &lanes);
    }
}

fc_winograd_planes fc_winograd_planes_of_x(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    return (fc_winograd_planes){
        .data = c->x,
        .n = c->x_n, .c = c->x_c, .h = c->x_h, .w = c->x_w,
        .height = c->h, .width = c->w,
        .low_h = plan->low_h, .low_w = plan->low_w,
        .stride_h = (int)c->stride_h, .stride_w = (int)c->stride_w,
        .side = plan->size,
        .transform = c->kernels->winograd_input,
    };
}

fc_winograd_planes fc_winograd_planes_of_y(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    return (fc_winograd_planes){
        .data = c->y,
        .n = c->y_n, .c = c->y_c, .h = c->y_h, .w = c->y_w,
        .height = c->oh, .width = c->ow,
        .stride_h = 1, .stride_w = 1,
        .side = plan->m,
        .transform = c->kernels->winograd_tile_filter,
    };
}
