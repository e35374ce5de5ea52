// The options of train as a table, bound to the structure that they fill; what they mean together
// is train.c's business.
#include "runtime/finetune/train_options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(RtTrainWords, member)

static const RtCliField fields[] = {
    {"--epochs", RT_CLI_TEXT, AT(epochs), 0, 0, "N[,N...]",
     "passes over the images, for all stages or one number a stage (default 10); auto: by their "
     "number, ended by --early-stop 5; +N with --resume: N more after a finished run"},
    {"--lr", RT_CLI_TEXT, AT(lr), 0, 0, "R[,R...]",
     "learning rate; one number: a tenth of it from the second stage on (default 0.01, adamw "
     "0.001, of pretrained layers 0.0001, with a classifier that was not solved 0.0005); auto: a "
     "range test before each stage finds it, as it does before the first one with "
     "--head-solver sgd, nesterov or adamw"},
    {"--lr-find", RT_CLI_TEXT, AT(set.lr_picture), 0, 0, "FILE.svg",
     "nothing is trained: a range test, drawn, and the rate that it finds"},
    {"--batch|-b|--batch-size", RT_CLI_INT, AT(set.batch), 1, RT_MAX_BATCH, "N",
     "images a batch (default 16, or as compiled)"},
    {"--accumulate", RT_CLI_INT, AT(set.accumulate), 1, RT_MAX_BATCH, "K",
     "batches a step, whose gradient is the mean over the images of all; the processes of mpirun "
     "share them, and where they are more, each batch (default 1)"},
    {"--opt", RT_CLI_TEXT, AT(optimizer), 0, 0, "NAME",
     "sgd, nesterov or adamw (default: sgd; adamw for pretrained layers where no rate is "
     "given)"},
    {"--head-solver", RT_CLI_TEXT, AT(head_solver), 0, 0, "NAME",
     "what becomes of a new classifier before other layers move: newton (default) solves it, "
     "without "
     "rate and epochs; sgd, nesterov, adamw: it is trained in steps, as --lr or --opt ask for "
     "where "
     "one stage trains it alone"},
    {"--nesterov", RT_CLI_FLAG, AT(nesterov), 0, 0, NULL, NULL},
    {"--momentum", RT_CLI_FLOAT, AT(set.momentum), 0, 0.99999, "M",
     "of SGD; AdamW's beta1 (default 0.9)"},
    {"--beta2", RT_CLI_FLOAT, AT(set.beta2), 0, 0.9999999, "B", "of AdamW (default 0.999)"},
    {"--eps", RT_CLI_FLOAT, AT(set.eps), 1e-20, 1, "E", "of AdamW (default 1e-8)"},
    {"--weight-decay", RT_CLI_FLOAT, AT(set.decay), 0, 10, "D",
     "not of biases and normalisation (default 0.0001)"},
    {"--sched", RT_CLI_TEXT, AT(lr_schedule), 0, 0, "NAME", NULL}, // old spelling
    {"--lr-schedule", RT_CLI_TEXT, AT(lr_schedule), 0, 0, "NAME",
     "cosine (default), step or constant, over each stage"},
    {"--warmup-epochs", RT_CLI_FLOAT, AT(warmup), 0, RT_MAX_EPOCHS, "E",
     "epochs of each stage in which the rate rises (default 0; 1 from the second stage on, and "
     "where AdamW moves pretrained layers with a random classifier)"},
    {"--decay-epochs", RT_CLI_FLOAT, AT(set.step_epochs), 0, RT_MAX_EPOCHS, "E",
     "--lr-schedule step: epochs between two decays (default 3)"},
    {"--decay-rate", RT_CLI_FLOAT, AT(set.gamma), 0, 1, "G",
     "--lr-schedule step: their factor (default 0.1)"},
    {"--label-smoothing|--smoothing", RT_CLI_FLOAT, AT(set.smoothing), 0, 0.99, "S",
     "share of every label spread over all classes (default 0)"},
    {"--balanced", RT_CLI_FLAG, AT(set.balanced), 0, 0, NULL,
     "rare classes weigh more: images / (classes * images of the class)"},
    {"--class-weights", RT_CLI_CHOICE, AT(weights), 0, 0, "balanced|none", "the same"},
    {"--clip-grad", RT_CLI_FLOAT, AT(set.clip), 0, 1e9, "NORM",
     "gradients are shortened to this norm (default: never)"},
    {"--model-ema", RT_CLI_FLAG, AT(average), 0, 0, NULL,
     "what is validated and kept is the moving average of the parameters"},
    {"--model-ema-decay", RT_CLI_FLOAT, AT(average_decay), 0, 0.9999999, "D",
     "its decay a step, at most (1 + steps) / (10 + steps) (default 0.9998)"},
    {"--augment", RT_CLI_TEXT, AT(augment), 0, 0, "KIND",
     "none (default), light: flip and crop, imagenet: random crop, flip, colours"},
    {"--scaled-decode", RT_CLI_FLAG, AT(set.scaled_decode), 0, 0, NULL,
     "JPEGs of training with more than four times the pixels that the input takes are decoded at a "
     "half, a quarter or an eighth of their size: faster, the pixels differ a little"},
    {"--mixup", RT_CLI_FLOAT, AT(set.mix.mixup), 0, 100, "A",
     "images of a batch are blended in pairs, by shares of Beta(A, A), and so are labels"},
    {"--cutmix", RT_CLI_FLOAT, AT(set.mix.cutmix), 0, 100, "A",
     "boxes of them are exchanged, of such shares; with both, either by chance"},
    {"--mixup-prob", RT_CLI_FLOAT, AT(set.mix.probability), 0, 1, "P", "of a batch (default 1)"},
    {"--mixup-switch-prob", RT_CLI_FLOAT, AT(set.mix.switches), 0, 1, "P",
     "of cutmix where both are asked for (default 0.5)"},
    {"--scale", RT_CLI_FLOATS, AT(scale), 1e-4, 1, "FROM,TO",
     "share of the area that imagenet's random crop takes (default 0.08,1)"},
    {"--ratio", RT_CLI_FLOATS, AT(ratio), 0.01, 100, "FROM,TO",
     "its width by its height (default 0.75,1.3333)"},
    {"--train-interpolation", RT_CLI_TEXT, AT(filter), 0, 0, "NAME",
     "what it is resized by: bilinear, bicubic, lanczos ... (default: as the program's images)"},
    {"--auto-augment|--aa", RT_CLI_TEXT, AT(policy), 0, 0, "POLICY",
     "ta_wide: TrivialAugment, one random change of each image; ra-m9-n2: torchvision's "
     "RandAugment, 2 changes of magnitude 9 of 30 (-mstd0.5: give or take); "
     "rand-m9-mstd0.5-inc1: timm's, of 10 (-n2, -p0.5, -mmax20: further, -tweights); none "
     "(default)"},
    {"--reprob|--random-erase", RT_CLI_FLOAT, AT(set.augment.erase), 0, 1, "P",
     "probability that a random box of an image is erased (default 0)"},
    {"--remode", RT_CLI_CHOICE, AT(how), 0, 0, "pixel|rand|const",
     "by noise in each pixel (default), one number, zeros"},
    {"--feature-cache", RT_CLI_TEXT, AT(cache), 0, 0, "WHERE",
     "results of frozen layers: auto (default: in memory where they fit), memory, off, or a "
     "folder"},
    {"--feature-memory", RT_CLI_TEXT, AT(feature_memory), 0, 0, "SIZE",
     "memory that features may take, and again the solver that works on them, such as 500M; what "
     "is "
     "more stays in a file (default: half of what is available, to the control group, too)"},
    {"--cache-variants", RT_CLI_INT, AT(set.variants), 0, 1000, "K",
     "with --augment: that many variants of each image, whose features are cached"},
    {"--val", RT_CLI_TEXT, AT(val), 0, 0, "DATA", "images for validation"},
    {"--val-fraction", RT_CLI_FLOAT, AT(val_fraction), 0, 0.99, "F",
     "share of the images for validation where there are none (default 0.2)"},
    {"--mask-values", RT_CLI_TEXT, AT(set.mask_values), 0, 0, "LIST",
     "of networks that label pixels: the numbers in masks that are class 0, 1 ..., as 0,255 or "
     "1-150,void, where all others do not count (default: numbers are classes, 255 does not "
     "count)"},
    {"--k-fold", RT_CLI_INT, AT(set.k_fold), 2, RT_MAX_FOLDS, "K",
     "for small sets: each Kth of the images is held out once, the mean accuracy and its standard "
     "deviation are told; then the model is trained on all images, in the same way"},
    {"--index", RT_CLI_TEXT, AT(set.index), 0, 0, "FILE",
     "keeps the list of images, read where no folder, list or shard has changed since; outside of "
     "the data"},
    {"--early-stop", RT_CLI_INT, AT(set.early_stop), 0, RT_MAX_EPOCHS, "N",
     "a stage ends after N epochs without a better one"},
    {"--seed", RT_CLI_SEED, AT(set.seed), 0, 0, "S", "of order, augmentation, dropout (default 1)"},
    {"--max-steps", RT_CLI_INT, AT(max_steps), 0, 1e9, "N", "ends after N steps; 0: never"},
    RT_FINE_THREADS(AT(set.threads)),
    {"--workers|-j", RT_CLI_INT, AT(set.workers), 0, 256, "N",
     "threads that decode images (default: half of the CPUs)"},
    {"--out|--output|-o", RT_CLI_TEXT, AT(set.out), 0, 0, "FILE.onnx",
     "the tuned model (default: the program's name and -tuned.onnx, where no other program's "
     "is)"},
    {"--report", RT_CLI_TEXT, AT(set.report), 0, 0, "FILE.html",
     "curves, confusion matrix, plan and worst mistakes as one page"},
    {"--log", RT_CLI_TEXT, AT(set.log), 0, 0, "FILE.jsonl",
     "a JSON object for every step and epoch, and every rate of a range test"},
    {"--csv", RT_CLI_TEXT, AT(set.csv), 0, 0, "FILE.csv", "a line for every epoch, at the end"},
    {"--log-tensorboard", RT_CLI_TEXT, AT(set.board), 0, 0, "FOLDER",
     "losses, accuracies and rates as they come, for 'tensorboard --logdir FOLDER'"},
    RT_FINE_CHECKPOINT(AT(folder)),
    {"--checkpoint-every", RT_CLI_INT, AT(set.checkpoint_every), 0, 1e9, "N",
     "steps between checkpoints (default: at the end of every epoch)"},
    {"--no-checkpoint", RT_CLI_FLAG, AT(no_checkpoint), 0, 0, NULL, "none are written"},
    {"--resume", RT_CLI_FLAG, AT(set.resume), 0, 0, NULL,
     "go on from the newest checkpoint, bit for bit as if never stopped"},
    {"--overwrite", RT_CLI_FLAG, AT(set.overwrite), 0, 0, NULL,
     "begin anew over checkpoints and TensorBoard's files of an earlier run, which go"},
    {"--quiet|-q", RT_CLI_FLAG, AT(set.quiet), 0, 0, NULL, "errors only"},
    RT_FINE_HELP(AT(help)),
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static RtTrainWords defaults(const RtFine *f) {
    return (RtTrainWords){.lr_schedule = "cosine",
                          .augment = "none",
                          .policy = "none",
                          .how = "pixel",
                          .cache = "auto",
                          .folder = f->folder,
                          .weights = "none",
                          .warmup = -1,
                          .val_fraction = RT_VAL_FRACTION,
                          .average_decay = 0.9998f,
                          .set = {.batch = rt_fine_batch(f->d),
                                  .accumulate = 1,
                                  .mix = {.probability = 1, .switches = 0.5f},
                                  .momentum = 0.9f,
                                  .beta2 = 0.999f,
                                  .eps = 1e-8f,
                                  .decay = 1e-4f,
                                  .gamma = 0.1f,
                                  .step_epochs = 3,
                                  .seed = 1,
                                  .early_stop = -1,
                                  .out = f->out}};
}

bool rt_fine_train_given(const RtTrainWords *w, const char *option) {
    size_t n = strlen(option);
    for (int i = 0; i < N_FIELDS; i++)
        if (strncmp(fields[i].names, option, n) == 0 && strchr("|", fields[i].names[n]))
            return w->given[i];
    return false;
}

bool rt_fine_train_parse(const RtFine *f, int argc, char **argv, RtTrainWords *w, int *code) {
    RtCliOption options[N_FIELDS];
    RtCliList rest = {0};
    *w = defaults(f);
    rt_cli_bind(fields, N_FIELDS, w, options);
    bool ok = rt_fine_parse(
        f, "train",
        "[OPTION...] DATA\n\nDATA is a folder (train/CLASS/*.jpg and val/CLASS/*.jpg, "
        "or CLASS/*.jpg, which is\nsplit), tar shards as WebDataset makes them (one, a folder of "
        "them, or of train/ and\nval/), a list of lines 'path,label' (of programs made with "
        "--multi-label:\n'path,label;label'), a folder of IDX files (the MNIST family), or "
        "images.npy,labels.npy.",
        options, N_FIELDS, &w->help, argc, argv, &rest, 1, 1, code);
    w->data = ok ? rest.item[0] : NULL;
    if (ok)
        rt_cli_given(options, N_FIELDS, argc, argv, w->given);
    free(rest.item);
    return ok;
}
