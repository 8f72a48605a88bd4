/** Puts the JavaScript client as it is now where the guides and samples import it from, once for all tests. */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../clients/js/tests/server.js';
import { MODULES } from './guide.js';

const at = join(MODULES, '@aglow/client');
rmSync(at, { recursive: true, force: true });
for (const part of ['package.json', 'src', 'react', 'tabs'])
    cpSync(join(ROOT, 'clients/js', part), join(at, part), { recursive: true });
