/** The pages of docs/guides, run as their readers run them. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import yaml from 'js-yaml';
import { Ingress } from 'kubernetes-models/networking.k8s.io/v1';
import { WAITS_MS, startBrowser } from '../../clients/js/tests/browser.js';
import { ROOT, until } from '../../clients/js/tests/server.js';
import { Guide, blocksOf, pageOf } from './guide.js';

const MOST_WORDS = 600;

let browser;
before(async () => (browser = await startBrowser()));
after(() => browser?.close());

/** What a window shows of its friends: `ann online, ben offline, …` */
async function friendsOf(address) {
    const page = await (await browser.createBrowserContext()).newPage();
    page.setDefaultTimeout(WAITS_MS);
    await page.goto(address);
    return {
        page,
        show: (...lines) => until(async () => {
            const shown = await page.$$eval('li', (all) => all.map((line) => `${line.innerText} ${line.dataset.status}`));
            return lines.every((line) => shown.some((one) => line.split(' ').every((word) => one.includes(word))));
        }, `${address} shows ${lines}`),
    };
}

describe('Guides', { concurrency: 3 }, () => {
    test('React: two windows see each other come and go', async (t) => {
        const guide = await Guide.run(t, 'react');
        const address = `http://localhost:${guide.port(5173)}`;
        const ann = await friendsOf(`${address}/?me=ann`);
        await ann.show('ann online', 'ben offline');
        const ben = await friendsOf(`${address}/?me=ben`);
        await Promise.all([ann.show('ben online'), ben.show('ann online', 'eve offline')]);
        await fetch(`http://127.0.0.1:${guide.port(8080)}/offline`, {
            method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ user_id: 'ben' }),
        });
        await ann.show('ben offline');
    });

    test('React: the sample is the same app', () => {
        const files = blocksOf(pageOf('react')).filter(({ kind }) => kind === 'file');
        assert.equal(files.length, 5);
        for (const { path, text } of files)
            assert.equal(readFileSync(join(ROOT, 'samples/react', path), 'utf8'), text.slice(text.indexOf('\n') + 1), path);
    });

    test('Proxies: nginx and HAProxy pass everything on, and name the client', async (t) => {
        const guide = await Guide.run(t, 'proxies');
        for (const port of [8080, 8082]) {
            const socket = new WebSocket(`ws://127.0.0.1:${guide.port(port)}/ws?user_id=${port}`);
            const welcome = await new Promise((resolve, reject) => {
                socket.onmessage = ({ data }) => resolve(JSON.parse(data));
                socket.onclose = ({ code, reason }) => reject(new Error(`${code} ${reason}`));
            });
            assert.equal(welcome.user_id, port);
            socket.close();
            // a client cannot pretend to have another address: the server takes the one that the proxy sends
            const answer = await fetch(`http://127.0.0.1:${guide.port(port)}/status/1`, { headers: { 'X-Forwarded-For': 'nonsense' } });
            assert.equal(answer.status, 200);
        }
    });

    test('Proxies: the ingress is one by the schema of Kubernetes, and names the service of the manifests', () => {
        const { text } = blocksOf(pageOf('proxies')).find(({ path }) => path === 'ingress.yaml');
        const ingress = yaml.load(text);
        new Ingress(ingress).validate();
        assert.throws(() => new Ingress({ ...ingress, spec: { rules: [{ http: { paths: [{ path: 1 }] } }] } }).validate());
        const manifests = yaml.loadAll(readFileSync(join(ROOT, 'deploy/kubernetes/aglow.yaml'), 'utf8'));
        const service = manifests.find(({ kind }) => kind === 'Service');
        const backend = ingress.spec.rules[0].http.paths[0].backend.service;
        assert.equal(backend.name, service.metadata.name);
        assert.ok(service.spec.ports.some(({ name }) => name === backend.port.name));
    });

    test('Push: a message is shown, pushed or kept', (t) => Guide.run(t, 'push'));

    test('From Redis: nobody is lost on the way', (t) => Guide.run(t, 'from-redis'));

    test('Three nodes: one is killed, and nobody notices', (t) => Guide.run(t, 'three-nodes'));

    test('Sizing: the plans say what the page says', (t) => Guide.run(t, 'sizing'));
});

test('Each guide is short, and the documents lead to it', () => {
    const pages = readdirSync(join(ROOT, 'docs/guides')).filter((name) => name.endsWith('.md'));
    assert.ok(pages.length >= 6);
    const index = readFileSync(join(ROOT, 'docs/clients.md'), 'utf8') + readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
    for (const page of pages) {
        const words = readFileSync(join(ROOT, 'docs/guides', page), 'utf8').split(/\s+/).filter(Boolean).length;
        assert.ok(words < MOST_WORDS, `${page} has ${words} words`);
        assert.ok(index.includes(`guides/${page}`), `neither clients.md nor operations.md names ${page}`);
    }
});
