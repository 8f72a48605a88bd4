// Changes come whenever they like; the page is changed once a frame, each thing once, however often it changed.

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
