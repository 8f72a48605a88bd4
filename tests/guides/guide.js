/**
 * Runs a page of docs/guides as its reader does: one shell runs the `sh` blocks in their order, and writes the files that the page shows.
 *
 * - The shell works in a folder of its own, beside links to the repository's folders, and stops at the first command that fails.
 * - A block of another language whose first line is a comment with a path is a file, and is written where it stands.
 * - A `text` block is what the commands before it print. A line with "…" may have anything there, and seconds may differ.
 *
 * Three things differ from a reader's machine: ports that a page names are replaced by free ones; `npm install` and `npx` use the modules
 * that ./test has installed; and of programs that a page leaves running, all end with the test.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, until } from '../../clients/js/tests/server.js';

export const HERE = fileURLToPath(new URL('.', import.meta.url));
export const MODULES = join(HERE, 'node_modules');

// ports that guides name, each with a free one for this run
const PORTS = /(?<![\d.])(8080|8081|8082|8083|6379|5173|3000)(?!\d)/g;
// long, because a machine that builds at the same time is slow
const MOST_MS = 180_000;
const PRELUDE = `
    set -euo pipefail
    npm() { [[ $1 == install ]] || command npm "$@"; }
    npx() { PATH="${MODULES}/.bin:$PATH" "$@"; }
`;

/** A folder inside this one, so that programs in it find the modules. */
export function newFolder(name) {
    const folder = join(HERE, 'out', name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    return folder;
}

// The kernel gives ports from 32768 on to connections and to servers that ask for any, so one of those may be in use a moment later. These
// are below, and each process of tests begins at others.
let lastPort = 12_000 + (process.pid % 200) * 100;

export async function freePort() {
    for (;;) {
        const port = ++lastPort;
        const probe = net.createServer();
        const isFree = await new Promise((resolve) => probe.once('error', () => resolve(false)).listen(port, () => resolve(true)));
        if (!isFree)
            continue;
        await new Promise((resolve) => probe.close(resolve));
        return port;
    }
}

/** The blocks of a page: `{ kind: 'sh' | 'file' | 'text' | 'other', text, path? }`. */
export function blocksOf(page) {
    return [...page.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, text]) => {
        if (language === 'sh' || language === 'text')
            return { kind: language, text };
        const path = /^(?:\/\/|#|<!--|\{\/\*) (\S+\.\w+)(?: -->| \*\/\})?\n/.exec(text)?.[1];
        return { kind: path ? 'file' : 'other', text, path };
    });
}

export const pageOf = (name) => readFileSync(join(ROOT, `docs/guides/${name}.md`), 'utf8');

export class Guide {
    #shell;
    #ports = new Map();
    #printed = '';
    #log = '';

    /** Runs the whole page, and returns when its last command has ended; what it started goes on until the test ends. */
    static async run(t, name) {
        const guide = new Guide();
        const page = pageOf(name);
        for (const [port] of page.matchAll(PORTS)) {
            if (!guide.#ports.has(port))
                guide.#ports.set(port, await freePort());
        }

        guide.folder = newFolder(name);
        for (const entry of readdirSync(ROOT).filter((entry) => !['.git', 'out', 'data', 'tests'].includes(entry)))
            symlinkSync(join(ROOT, entry), join(guide.folder, entry));
        const blocks = blocksOf(guide.translate(page));
        t.after(() => guide.#end());
        await guide.#run(blocks);
        return guide;
    }

    /** The text with the ports of this run. */
    translate(text) {
        return text.replace(PORTS, (port) => this.#ports.get(port) ?? port);
    }

    /** The port that this run uses in place of one that the page names. */
    port(named) {
        return this.#ports.get(String(named));
    }

    get log() {
        return this.#log;
    }

    async #run(blocks) {
        const script = [PRELUDE];
        const expected = [];
        for (const [at, block] of blocks.entries()) {
            if (block.kind === 'file')
                script.push(`mkdir -p "$(dirname ${block.path})"\ncat >${block.path} <<'@@file'\n${block.text}@@file\n`);
            else if (block.kind === 'sh')
                script.push(`printf '\\n@@${at}\\n'\n${block.text}`);
            else if (block.kind === 'text')
                expected.push({ after: blocks.slice(0, at).findLastIndex(({ kind }) => kind === 'sh'), text: block.text });
        }

        script.push("printf '\\n@@end\\n'\nsleep infinity\n");
        const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('AGLOW_'));
        // where a server listens if the page names no address
        const AGLOW_URLS = `http://127.0.0.1:${this.port(8080)}`;
        // a process group of its own, so that all of it can be ended
        this.#shell = spawn('bash', ['-c', script.join('\n')], {
            cwd: this.folder, detached: true, env: { ...Object.fromEntries(kept), AGLOW_URLS }, stdio: ['ignore', 'pipe', 'pipe'],
        });
        for (const stream of [this.#shell.stdout, this.#shell.stderr])
            stream.setEncoding('utf8').on('data', (text) => (this.#log += text));
        this.#shell.stdout.on('data', (text) => (this.#printed += text));
        const isDone = () => this.#printed.includes('@@end\n') || this.#shell.exitCode !== null;
        await until(isDone, 'the guide ends', MOST_MS).catch((late) => {
            throw new Error(`${late.message}: ${this.#log}`);
        });
        if (this.#shell.exitCode !== null)
            throw new Error(`A command of the guide failed: ${this.#log}`);
        const outputs = new Map([...this.#printed.matchAll(/^@@(\d+)\n([^]*?)(?=^@@)/gm)].map(([, at, text]) => [Number(at), text]));
        for (const { after, text } of expected)
            requireLines(outputs.get(after), text);
    }

    async #end() {
        try {
            process.kill(-this.#shell.pid, 'SIGKILL');
        } catch (gone) {
            if (gone.code !== 'ESRCH')
                throw gone;
        }

        rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    }
}

const withoutSeconds = (text) => text.replace(/\b1\d{9}\b/g, 'SECONDS');

/** Each line must be printed, in this order; other lines may stand between. */
function requireLines(printed, wanted) {
    const lines = withoutSeconds(printed).split('\n').map((line) => line.trimEnd());
    let at = 0;
    for (const line of withoutSeconds(wanted).trimEnd().split('\n')) {
        const pattern = new RegExp(`^${line.trimEnd().split('…').map(escape).join('.*')}$`);
        const found = lines.findIndex((printedLine, index) => index >= at && pattern.test(printedLine));
        if (found < 0)
            throw new Error(`The guide says "${line}", and this was printed: ${printed}`);
        at = found + 1;
    }
}

const escape = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
