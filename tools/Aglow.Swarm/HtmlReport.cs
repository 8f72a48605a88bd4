using System.Net;
using System.Text;

namespace Aglow.Swarm;

/// <summary>Writes a run as one page: figures, plots, violations. The page needs no other file, and has a light and a dark mode.</summary>
internal static class HtmlReport
{
    private const int Width = 640;
    private const int Height = 160;

    private const string Style =
        """
        :root { color-scheme: light dark; --line: light-dark(#0b6bcb, #6cb6ff); --second: light-dark(#b35900, #ffb86b);
            --grid: light-dark(#ddd, #333); --bad: light-dark(#b00020, #ff6b81); --good: light-dark(#1a7f37, #4ac26b); }
        body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
        h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
        .good { color: var(--good); } .bad { color: var(--bad); }
        table { border-collapse: collapse; }
        td, th { padding: .2rem 1.2rem .2rem 0; text-align: left; border-bottom: 1px solid var(--grid); }
        td.n { text-align: right; font-variant-numeric: tabular-nums; }
        .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
        figure { margin: 0; } figcaption { font-size: .9rem; }
        svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; opacity: .7; }
        polyline { fill: none; stroke: var(--line); stroke-width: 1.5; } polyline.second { stroke: var(--second); }
        .grid { stroke: var(--grid); }
        pre { overflow-x: auto; border-left: 3px solid var(--bad); padding-left: 1rem; }
        """;

    public static string Of(SwarmRun swarm)
    {
        var (findings, measures) = (swarm.Findings, swarm.Measures);
        var html = new StringBuilder();
        html.Append(
            $"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
                + $"<title>Aglow swarm: {Text(findings.Outcome)}</title><style>\n{Style}\n</style>"
                + $"</head><body>\n");
        html.Append($"<h1>Swarm: <span class=\"{(findings.Passed ? "good" : "bad")}\">{Text(findings.Outcome)}</span></h1>\n");
        html.Append($"<p>{Text(swarm.Who)} for {swarm.Seconds} s, seed {swarm.Options.Seed}, "
            + $"at {Text(string.Join(", ", swarm.Options.Urls))}; lease {swarm.Promises.Lease} s; "
            + $"{swarm.Clock.BeganAt:yyyy-MM-dd HH:mm} UTC; {Text(Summary.Machine)}.</p>\n");

        html.Append("<div class=\"plots\">\n");
        Plot(html, swarm.Samples, $"Online, of {swarm.LookedAt}", ("surely online", s => s.Online));
        Plot(html, swarm.Samples, "Heartbeats over HTTP a second", ("heartbeats", s => s.Heartbeats));
        Plot(html, swarm.Samples, "Transitions a second", ("transitions", s => s.Transitions));
        Plot(html, swarm.Samples, "Deliveries a second", ("deliveries", s => s.Deliveries));
        Plot(html, swarm.Samples, "Told online after, ms (of the run so far)", ("p50", s => s.NoticeP50Ms), ("p99", s => s.NoticeP99Ms));
        Plot(html, swarm.Samples, "Heartbeat acknowledged, p99, ms (of the run so far)", ("p99", s => s.HeartbeatP99Ms));
        if (swarm.Samples.Any(static s => s.ServersCpuPercent is not null))
        {
            Plot(html, swarm.Samples, "CPU of the servers, % of one core", ("CPU", s => s.ServersCpuPercent ?? 0));
            Plot(html, swarm.Samples, "Memory of the servers, MB", ("memory", s => s.ServersMegabytes ?? 0));
        }

        Plot(html, swarm.Samples, "Errors and violations so far", ("errors", s => s.Errors), ("violations", s => s.Violations));
        html.Append("</div>\n<h2>What was checked</h2>\n<table><tr><th></th><th>count</th><th>of it, one answer only</th></tr>\n");
        Row(html, "statuses read", findings.Read, View.Number(findings.ReadDecisive));
        Row(html, "records told to watchers", findings.Received, View.Number(findings.ReceivedDecisive));
        Row(html, "changes told in time", findings.ChangesInTime, "");
        foreach (var (kind, count) in findings.ByKind)
            Row(html, kind, count, "", count > 0);
        html.Append("</table>\n<h2>How fast</h2>\n<table><tr><th></th><th>count</th><th>p50</th><th>p99</th><th>max</th></tr>\n");
        foreach (var latency in LatencyLine.Of(swarm).Where(static l => l.Count > 0))
            html.Append(
                $"<tr><td>{Text(latency.What)}</td><td class=\"n\">{View.Number(latency.Count)}</td><td class=\"n\">{latency.P50Ms} ms</td>"
                    + $"<td class=\"n\">{latency.P99Ms} ms</td><td class=\"n\">{latency.MaxMs} ms</td></tr>\n");
        html.Append("</table>\n<h2>How much</h2>\n<table>\n");
        Row(html, "sockets opened", measures.Connects, "");
        Row(html, "heartbeats over HTTP", measures.Heartbeats, "");
        Row(html, "transitions", measures.Transitions, "");
        Row(html, "deliveries", measures.Deliveries, "");
        if (swarm.Servers.SteadyCpuPercent is { } cpu)
            html.Append($"<tr><td>CPU of the servers, of one core</td><td class=\"n\">{cpu} %</td>"
                + $"<td class=\"n\">over {swarm.Servers.SteadySeconds} s</td></tr>\n"
                + $"<tr><td>memory of the servers</td><td class=\"n\">{swarm.Servers.Megabytes:#,0} MB</td><td></td></tr>\n");
        Row(html, "errors", measures.Errors, Text(measures.LastError));
        html.Append("</table>\n");
        if (findings.Count > 0)
            html.Append("<h2>Violations</h2>\n");
        foreach (var violation in findings.Violations)
            html.Append($"<pre>{Text(violation.ToString())}</pre>\n");
        return html.Append("</body></html>\n").ToString();
    }

    private static void Row(StringBuilder html, string what, long count, string more, bool isBad = false) =>
        html.Append($"<tr{(isBad ? " class=\"bad\"" : "")}><td>{what}</td><td class=\"n\">{View.Number(count)}</td>"
            + $"<td class=\"n\">{more}</td></tr>\n");

    private static void Plot(
        StringBuilder html, IReadOnlyCollection<Sample> samples, string title, params (string Name, Func<Sample, double> Of)[] lines)
    {
        if (samples.Count < 2)
            return;
        var right = samples.Max(static s => s.At);
        var top = Math.Max(1, lines.Max(l => samples.Max(l.Of)));
        html.Append($"<figure><figcaption>{Text(title)}</figcaption><svg viewBox=\"0 0 {Width + 60} {Height + 30}\" "
            + $"role=\"img\" aria-label=\"{Text(title)}\">");
        for (var step = 0; step <= 2; step++)
        {
            var y = 10 + (Height * (2 - step) / 2);
            html.Append($"<line class=\"grid\" x1=\"50\" x2=\"{Width + 50}\" y1=\"{y}\" y2=\"{y}\"/>"
                + $"<text x=\"45\" y=\"{y + 4}\" text-anchor=\"end\">{top * step / 2:0.##}</text>");
            html.Append($"<text x=\"{50 + (Width * step / 2)}\" y=\"{Height + 26}\" text-anchor=\"middle\">{right * step / 2:0} s</text>");
        }

        for (var line = 0; line < lines.Length; line++)
        {
            var points = samples.Select(
                s => $"{50 + (Width * s.At / right):0.#},{10 + (Height * (1 - (lines[line].Of(s) / top))):0.#}");
            html.Append($"<polyline{(line > 0 ? " class=\"second\"" : "")} points=\"{string.Join(' ', points)}\">"
                + $"<title>{Text(lines[line].Name)}</title></polyline>");
        }

        html.Append("</svg>");
        if (lines.Length > 1)
            html.Append($"<small><span style=\"color:var(--line)\">{Text(lines[0].Name)}</span>, "
                + $"<span style=\"color:var(--second)\">{Text(lines[1].Name)}</span></small>");
        html.Append("</figure>\n");
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
