/** Chromium, for a test: pages of a real server's origin with this client in them. */
import { existsSync } from 'node:fs';
import puppeteer from 'puppeteer-core';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

// long, because a machine that builds at the same time is slow
export const WAITS_MS = 60_000;

export async function startBrowser() {
    const executablePath = CHROMIUM.find((path) => existsSync(path));
    if (!executablePath)
        throw new Error('Chromium is missing: install the package "chromium".');
    return puppeteer.launch({
        executablePath,
        args: ['--no-sandbox', '--disable-quic'],
        timeout: WAITS_MS,
        // the tests need the back-forward cache
        ignoreDefaultArgs: ['--disable-back-forward-cache'],
    });
}

/** A page of the server's origin, in which `connect`, `http` and `shareTabs` are global. */
export async function openPage(context, url, { without = [] } = {}) {
    const page = await context.newPage();
    page.setDefaultTimeout(WAITS_MS);
    await page.evaluateOnNewDocument((names, waitsMs) => {
        names.forEach((name) => delete globalThis[name]);
        // tabs wait 3 s for their SharedWorker, and a busy machine may need longer to start it
        const { setTimeout } = globalThis;
        globalThis.setTimeout = (callback, ms, ...given) => setTimeout(callback, ms === 3000 ? waitsMs : ms, ...given);
    }, without, WAITS_MS);
    await page.goto(`${url}/health/live`);
    await load(page);
    return page;
}

/** Puts the client into a page. */
export const load = (page) => page.evaluate(async () => {
    Object.assign(globalThis, await import('/client/index.js'), await import('/client/tabs.js'));
});
