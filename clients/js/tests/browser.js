/** Chromium, for a test: pages of a real server's origin with this client in them. */
import { existsSync } from 'node:fs';
import puppeteer from 'puppeteer-core';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function startBrowser() {
    const executablePath = CHROMIUM.find((path) => existsSync(path));
    if (!executablePath)
        throw new Error('Chromium is missing: install the package "chromium".');
    return puppeteer.launch({
        executablePath,
        args: ['--no-sandbox', '--disable-quic'],
        // the tests need the back-forward cache
        ignoreDefaultArgs: ['--disable-back-forward-cache'],
    });
}

/** A page of the server's origin, in which `connect`, `http` and `shareTabs` are global. */
export async function openPage(context, url, { without = [] } = {}) {
    const page = await context.newPage();
    await page.evaluateOnNewDocument((names) => names.forEach((name) => delete globalThis[name]), without);
    await page.goto(`${url}/health/live`);
    await load(page);
    return page;
}

/** Puts the client into a page. */
export const load = (page) => page.evaluate(async () => {
    Object.assign(globalThis, await import('/client/index.js'), await import('/client/tabs.js'));
});
