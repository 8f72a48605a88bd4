// Changes arrive at any time. The page is updated once a frame, and each part once, however often it changed.

const due = new Set();

/** Calls `what.paint()` before the next frame. */
export function paint(what) {
    if (due.size === 0)
        requestAnimationFrame(paintAll);
    due.add(what);
}

function paintAll() {
    const all = [...due];
    due.clear();
    for (const what of all)
        what.paint();
}
