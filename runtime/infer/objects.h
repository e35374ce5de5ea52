// What a detector finds.
#ifndef RUNTIME_INFER_OBJECTS_H
#define RUNTIME_INFER_OBJECTS_H

#include "runtime/core/abi.h"

enum { RT_BOX = 4 };

typedef struct RtObject {
    double box[RT_BOX]; // left, top, right, bottom
    double score;
    int64_t label;
    int64_t place; // in the output that boxes are in
} RtObject;

typedef struct RtPoint {
    double x, y; // in the network's input
    double sure; // 1 where nothing tells
} RtPoint;

// Of an output whose boxes overlap (HONE_BOXES_COLUMNS, ROWS, GRID): those of at least
// `threshold`, without those that share more than `most` of their area and an object's class with a
// better one. out, room for as many as the output has places; the best first. y: the output's
// numbers, of one image. Returns how many.
int64_t rt_objects_of_cells(const HoneModelDesc *d, const void *y, double threshold, double most,
                            RtObject *out);
// Point k of the pose (HoneTask.points) of an object that was read from y.
RtPoint rt_object_point(const HoneModelDesc *d, const void *y, const RtObject *o, int k);
// Of queries (HONE_BOXES_QUERIES and on), none of which overlaps another: each one's best class, as
// shares of the picture. boxes, scores: the outputs' numbers, scores NULL where they are the same.
int64_t rt_objects_of_queries(const HoneModelDesc *d, const void *boxes, const void *scores,
                              double threshold, RtObject *out);

#endif
