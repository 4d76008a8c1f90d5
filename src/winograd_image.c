/* Tiles in Winograd's domain: rows of pixels are copied with a vector of channels side by side, so that all lanes are
 * filled whatever the image, and transformed. */
#include "im2col.h"
#include "winograd.h"

static void clear(const fc_correlation *c, char *to, ptrdiff_t elements)
{
    c->kernels->pack_runs(to, 0, c->x, 0, 1, 1, NULL, 0, elements);
}

/* One row of pixels, [from, to) of which lie in the plane, `count` channels side by side; the rest is zero. */
static void fill_row(const fc_correlation *c, const fc_winograd_planes *p, const char *row, ptrdiff_t from, ptrdiff_t to,
                     ptrdiff_t columns, ptrdiff_t count, char *image)
{
    const ptrdiff_t lanes = c->kernels->lanes;
    char *inside = fc_at(c, image, from * lanes);
    clear(c, image, from * lanes);
    clear(c, fc_at(c, image, to * lanes), (columns - to) * lanes);
    if (from == to)
        return;
    row = fc_at(c, row, (from + p->low_w) * p->w);
    if (p->c == 1) {
        const fc_run run = {0, 0, count};
        c->kernels->pack_runs(inside, lanes, row, p->w, 1, to - from, &run, 1, count < lanes ? lanes : 0);
        return;
    }
    const void *channel[64] = {NULL};
    for (ptrdiff_t i = 0; i < count; i++)
        channel[i] = fc_at(c, row, i * p->c);
    c->kernels->pack_columns(inside, lanes, channel, (int)lanes, p->w, to - from);
}

static ptrdiff_t image_columns(const fc_winograd_plan *plan, int side)
{
    return plan->tiles.ow * plan->m + side - plan->m;
}

size_t fc_winograd_image_bytes(const fc_winograd_plan *plan)
{
    const ptrdiff_t rows = plan->image_rows * plan->m + plan->size - plan->m;
    return (size_t)(rows * image_columns(plan, plan->size) * plan->c.kernels->lanes) * plan->c.element;
}

static void transform_rows(const fc_winograd_plan *plan, const fc_winograd_planes *p, const char *plane, ptrdiff_t row,
                           ptrdiff_t rows, ptrdiff_t count, char *image, fc_winograd_lanes *lanes)
{
    const fc_correlation *c = &plan->c;
    const ptrdiff_t columns = image_columns(plan, p->side), height = rows * plan->m + p->side - plan->m;
    const ptrdiff_t top = row * plan->m + p->low_h;
    ptrdiff_t from, end;
    fc_valid_outputs(columns, 1, p->low_w, p->width, &from, &end);
    lanes->row_step = columns * c->kernels->lanes;
    for (ptrdiff_t i = 0; i < height; i++) {
        const int inside = top + i >= 0 && top + i < p->height;
        fill_row(c, p, inside ? fc_at(c, plane, (top + i) * p->h) : plane, inside ? from : 0, inside ? end : 0, columns,
                 count, fc_at(c, image, i * lanes->row_step));
    }
    char *to = lanes->transformed;
    for (ptrdiff_t i = 0; i < rows; i++) {
        lanes->image = fc_at(c, image, i * plan->m * lanes->row_step);
        lanes->transformed = fc_at(c, to, i * plan->tiles.ow * lanes->ld);
        p->transform(lanes);
    }
    lanes->transformed = to;
}

void fc_winograd_transform_tiles(const fc_winograd_plan *plan, const fc_winograd_planes *p, ptrdiff_t channel,
                                 ptrdiff_t count, ptrdiff_t first_row, ptrdiff_t all_rows, char *image, char *to,
                                 ptrdiff_t ld, ptrdiff_t point_step)
{
    const fc_correlation *c = &plan->c;
    fc_winograd_lanes lanes = {
        .size = plan->size, .m = plan->m, .tiles = plan->tiles.ow, .ld = ld, .point_step = point_step};
    for (ptrdiff_t done = 0, rows; done < all_rows; done += rows) {
        const ptrdiff_t n = (first_row + done) / plan->tiles.oh, row = (first_row + done) % plan->tiles.oh;
        rows = fc_min(fc_min(plan->tiles.oh - row, all_rows - done), plan->image_rows);
        lanes.transformed = fc_at(c, to, done * plan->tiles.ow * ld);
        transform_rows(plan, p, fc_at(c, p->data, n * p->n + channel * p->c), row, rows, count, image, &lanes);
    }
}

fc_winograd_planes fc_winograd_planes_of_x(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->tiles;
    return (fc_winograd_planes){c->x,  c->q,           c->x_n,         c->x_c,     c->x_h, c->x_w, c->h,
                                c->w, c->tap[0].h, c->tap[0].w, plan->size, c->kernels->winograd_input};
}

fc_winograd_planes fc_winograd_planes_of_y(const fc_winograd_plan *plan)
{
    const fc_correlation *c = &plan->c;
    return (fc_winograd_planes){c->y,  c->m, c->y_n, c->y_c,  c->y_h, c->y_w, c->oh,
                                c->ow, 0,    0,      plan->m, c->kernels->winograd_tile_filter};
}
