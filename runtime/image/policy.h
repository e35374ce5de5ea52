// Changes of an image that are drawn by a policy, and their pixels. TrivialAugment (Müller and
// Hutter, 2021) as torchvision's TrivialAugmentWide: one change with any strength; RandAugment
// (Cubuk et al., 2020) as torchvision's and as timm's: several of one strength. Private header.
#ifndef RUNTIME_IMAGE_POLICY_H
#define RUNTIME_IMAGE_POLICY_H

#include "runtime/core/rng.h"
#include "runtime/image/image.h"

enum { // in torchvision's order; then what timm alone has
    RT_POLICY_IDENTITY,
    RT_POLICY_SHEAR_X,
    RT_POLICY_SHEAR_Y,
    RT_POLICY_TRANSLATE_X,
    RT_POLICY_TRANSLATE_Y,
    RT_POLICY_ROTATE,
    RT_POLICY_BRIGHTNESS,
    RT_POLICY_COLOR,
    RT_POLICY_CONTRAST,
    RT_POLICY_SHARPNESS,
    RT_POLICY_POSTERIZE,
    RT_POLICY_SOLARIZE,
    RT_POLICY_AUTO_CONTRAST,
    RT_POLICY_EQUALIZE,
    RT_POLICY_INVERT,
    RT_POLICY_SOLARIZE_ADD,
    RT_N_POLICIES
};

typedef struct RtPolicy { // one change; all zero: none
    int op;               // RT_POLICY_*
    double how_far;       // as torchvision's magnitude, signed
    bool smooth;          // maps take a mean of four pixels, by Pillow's bilinear filter
    uint8_t fill[3];      // what comes from outside
} RtPolicy;

// Pixels [height][width][channels] of 1 or 3 channels. False with err set: no memory.
bool rt_policy_apply(const RtPolicy *p, RtImage *image, RtErr *err);

// Where in an image of that size the pixel comes from whose middle is then at (x, y), in pixels;
// as it is of a change that moves nothing. False: from outside.
bool rt_policy_place(const RtPolicy *p, int width, int height, double *x, double *y);

// ---- which are drawn: policy_draw.c

typedef enum RtPolicyKind { RT_POLICIES_NONE, RT_TA_WIDE, RT_RA, RT_RAND } RtPolicyKind;
enum { RT_MAX_POLICIES = 16, RT_POLICIES_TEXT = 96 };

typedef struct RtPolicies { // all zero: none
    RtPolicyKind kind;
    int n;              // changes of an image, RT_MAX_POLICIES at most
    double magnitude;   // of 30, timm's of 10
    double deviation;   // of a normal distribution around it; above 100: uniform below it
    double probability; // of each of timm's changes
    double most;        // timm's: magnitudes end there; 0: at 10
    bool increasing;    // timm's: all of them stronger by magnitude
    bool weighted;      // timm's: increasing ones, drawn by weights, none of them twice
} RtPolicies;

// "none", "ta_wide", "ra-m9-n2-mstd0.5", "rand-m9-n2-mstd0.5-p0.5-inc1-mmax10-tweights", parts left
// out being the defaults of torchvision and timm. False with err set: it is none of these.
bool rt_policies_parse(const char *text, RtPolicies *p, RtErr *err);
// The same, all parts said but the last two where they are not given. Returns text.
const char *rt_policies_text(const RtPolicies *p, char text[RT_POLICIES_TEXT]);
// Of an image of width x height, which has the mean colour `mean`; returns how many.
int rt_policies_draw(const RtPolicies *p, int width, int height, const uint8_t mean[3], RtRng *r,
                     RtPolicy to[RT_MAX_POLICIES]);

#endif
