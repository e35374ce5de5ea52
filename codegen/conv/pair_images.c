// pair_images: the numbers of two images beside each other, in words, which a product of pairs
// reads as f32 products read an image: the k-th word of pair q is the k-th number of image 2q and,
// above it, that of image 2q + 1, or 0 where there is none. What lies behind the last pair is never
// read.
//
// Threads split the numbers of an image.
#include "codegen/conv/conv.h"

#include <string.h>

typedef struct Pair {
    IrDim N;       // images of the result: twice as many as there are
    int64_t image; // numbers of one, whole vectors
    int64_t apart; // from image to image of x, which may be a view of a wider one
} Pair;

// Numbers from x[at] on, each in the lower half of its word.
static CgVal load_words(CgFn *f, CgVal at) {
    LLVMTypeRef half = LLVMInt16TypeInContext(f->ctx);
    LLVMTypeRef halves = LLVMVectorType(half, (unsigned)f->lanes);
    CgVal x = cg_load(f, halves, cg_at(f, half, f->arg[1], at), 2);
    return LLVMBuildZExt(f->b, x, f->ivec, "");
}

static void emit_pair(CgFn *f, const void *spec) {
    const Pair *s = spec;
    CgVal images = cg_idivc(f, cg_dim(f, s->N), 2), lo, hi;
    CgLoop image, at;
    cg_split(f, cg_i64(f, s->image / f->lanes), &lo, &hi);
    lo = cg_imulc(f, lo, f->lanes);
    hi = cg_imulc(f, hi, f->lanes);
    cg_for(f, &image, cg_i64(f, 0), images, 2);
    CgVal first = cg_imulc(f, image.iv, s->apart);
    CgVal has_two = cg_icmp(f, LLVMIntSLT, cg_iaddc(f, image.iv, 1), images);
    CgVal second = cg_select(f, has_two, cg_iaddc(f, first, s->apart), first);
    CgVal to = cg_fat(f, f->arg[0], cg_imulc(f, cg_idivc(f, image.iv, 2), s->image));
    cg_for(f, &at, lo, hi, f->lanes);
    CgVal upper = load_words(f, cg_iadd(f, second, at.iv));
    upper = LLVMBuildShl(f->b, upper, cg_int_like(upper, 16), "");
    upper = cg_select(f, has_two, upper, LLVMConstNull(f->ivec));
    CgVal words = LLVMBuildOr(f->b, load_words(f, cg_iadd(f, first, at.iv)), upper, "");
    cg_store(f, words, cg_fat(f, to, at.iv), 4);
    cg_end(f, &at);
    cg_end(f, &image);
}

void cg_lower_pair_images(CgProgram *p, const IrNode *n) {
    CgTensor x = cg_tensor(ir_in(n, 0));
    Pair s;
    memset(&s, 0, sizeof s);
    s.N = n->out[0]->type.shape.dim[0];
    s.image = cg_tensor(n->out[0]).image;
    s.apart = x.image;
    if (s.image % cg_target(p)->lanes) {
        cg_nyi(p, n, "pair_images in this layout");
        return;
    }
    if (s.image == 0)
        return;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int kernel = cg_kernel(p, "pair_images", emit_pair, &s, sizeof s, 2, 100);
    cg_call(p, n, kernel, 2, args, "pair_images", (IrDim){0, 0});
}
