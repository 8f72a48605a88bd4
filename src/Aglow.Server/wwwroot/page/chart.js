// The last two minutes: how many users were online (the line), and how many came or went in each second (the bars).

const SECONDS = 120;
const FONT = '11px system-ui, sans-serif';

export class Chart {
    #canvas;
    #samples = []; // { online, changes }, one a second, the newest last

    constructor(canvas) {
        this.#canvas = canvas;
        new ResizeObserver(() => this.#draw()).observe(canvas);
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    }

    add(online, changes) {
        this.#samples.push({ online, changes });
        this.#samples.splice(0, this.#samples.length - SECONDS);
        this.#draw();
    }

    #draw() {
        const canvas = this.#canvas;
        const { clientWidth: width, clientHeight: height } = canvas;
        const scale = devicePixelRatio;
        if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
            canvas.width = Math.round(width * scale);
            canvas.height = Math.round(height * scale);
        }

        const style = getComputedStyle(canvas);
        const color = (name) => style.getPropertyValue(name).trim();
        const pen = canvas.getContext('2d');
        pen.setTransform(scale, 0, 0, scale, 0, 0);
        pen.clearRect(0, 0, width, height);
        this.#drawBars(pen, width, height, color('--line-strong'));
        this.#drawLine(pen, width, height, color('--online'), color('--muted'));
        pen.fillStyle = color('--line');
        pen.fillRect(0, height - 1, width, 1);
    }

    #drawBars(pen, width, height, color) {
        // cuts the highest 5 % of the bars, so one burst does not flatten the others
        const sorted = this.#samples.map((sample) => sample.changes).sort((a, b) => a - b);
        const most = Math.max(4, (sorted[Math.floor(sorted.length * 0.95)] ?? 0) * 1.25);
        const step = width / SECONDS;
        pen.fillStyle = color;
        pen.globalAlpha = 0.55;
        this.#samples.forEach(({ changes }, i) => {
            const tall = Math.min(1, changes / most) * height * 0.3;
            pen.fillRect(width - (this.#samples.length - i) * step, height - 1 - tall, Math.max(1, step - 0.75), tall);
        });
        pen.globalAlpha = 1;
    }

    #drawLine(pen, width, height, color, labels) {
        if (this.#samples.length === 0)
            return;
        const counts = this.#samples.map((sample) => sample.online);
        const [low, high] = [Math.min(...counts), Math.max(...counts)];
        // the line stays in the upper two thirds, and does not magnify a change of one user
        const room = Math.max(high - low, high * 0.1, 4);
        const [top, bottom] = [16, height * 0.66];
        const y = (online) => bottom - ((online - low + (room - (high - low)) / 2) / room) * (bottom - top);
        const x = (i) => width - (counts.length - 1 - i) * (width / SECONDS);

        pen.beginPath();
        counts.forEach((online, i) => pen.lineTo(x(i), y(online)));
        pen.strokeStyle = color;
        pen.lineWidth = 2;
        pen.lineJoin = 'round';
        pen.stroke();
        pen.lineTo(width, height);
        pen.lineTo(x(0), height);
        const fade = pen.createLinearGradient(0, top, 0, height);
        fade.addColorStop(0, color);
        fade.addColorStop(1, 'transparent');
        pen.globalAlpha = 0.18;
        pen.fillStyle = fade;
        pen.fill();
        pen.globalAlpha = 1;

        if (high === low)
            return;
        pen.fillStyle = labels;
        pen.font = FONT;
        pen.textAlign = 'left';
        pen.fillText(`${low.toLocaleString('en')}–${high.toLocaleString('en')}`, 0, 9);
    }
}
