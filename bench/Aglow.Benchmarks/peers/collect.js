// The line "collect" on standard input runs a full collection (node --expose-gc) and prints the bytes of heap that are left.
// The end of the input stops the program.
'use strict';

module.exports.listen = () => {
    const lines = require('readline').createInterface({ input: process.stdin });
    lines.on('line', (line) => {
        if (line !== 'collect') return;
        if (global.gc) {
            global.gc();
            global.gc();
        }
        const memory = process.memoryUsage();
        console.log(memory.heapUsed + memory.external);
    });
    lines.on('close', () => process.exit(0));
};
