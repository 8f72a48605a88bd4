/**
 * Makes `dist`: the same client as CommonJS, for Jest, older Node and bundlers that need it, with types of its own. ES modules get `src`
 * unchanged.
 */
import { build } from 'esbuild';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const ENTRIES = ['index', 'react', 'tabs'];
const path = (name) => fileURLToPath(new URL(name, import.meta.url));

await rm(path('dist'), { recursive: true, force: true });
await mkdir(path('dist'));
for (const entry of ENTRIES) {
    await build({
        entryPoints: [path(`src/${entry}.js`)],
        outfile: path(`dist/${entry}.cjs`),
        bundle: true,
        format: 'cjs',
        target: 'es2020',
        external: ['react'],
        // a worker is a separate ES module, which CommonJS does not have; there the tabs elect a leader instead
        define: { 'import.meta.url': 'undefined' },
        logLevel: 'warning',
    });
    const types = await readFile(path(`src/${entry}.d.ts`), 'utf8');
    await writeFile(path(`dist/${entry}.d.cts`), types.replaceAll("./index.js'", "./index.cjs'"));
}
