// Classes of images, from Node: node classify.cjs LIBRARY IMAGE... The foreign functions are koffi's
// (npm install koffi). Worker threads make an instance each: one serves one call at a time.
const koffi = require('koffi');

const TOP = 3;
const [library, ...files] = process.argv.slice(2);
const net = koffi.load(library);
const HoneClass = koffi.struct('HoneClass', { index: 'int64_t', score: 'double', label: 'const char *' });
const create = net.func('void *hone_net_create(void *options, void *err, size_t size)');
const destroy = net.func('void hone_net_destroy(void *model)');
const classifyFile = net.func('int hone_net_classify_file(void *model, const char *file, int top, void *classes)');
const error = net.func('const char *hone_net_error(void *model)');

const why = Buffer.alloc(256);
const model = create(null, why, why.length);
if (!model) {
    console.error(why.toString().split('\0')[0]);
    process.exit(1);
}
const classes = koffi.alloc(HoneClass, TOP);
let bad = 0;
for (const file of files) {
    const n = classifyFile(model, file, TOP, classes);
    if (n < 0) {
        console.error(error(model));
        bad = 1;
        continue;
    }
    for (const c of koffi.decode(classes, koffi.array(HoneClass, n)))
        console.log(`${c.score.toFixed(4)} ${c.label}`);
}
koffi.free(classes);
destroy(model);
process.exitCode = bad;
