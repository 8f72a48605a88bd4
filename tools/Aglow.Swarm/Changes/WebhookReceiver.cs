using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Aglow.Swarm.Changes;

/// <summary>
/// A receiver of webhooks on this machine. It verifies each signature. If the options say so, it is down for a time, and slow at a later
/// time.
/// </summary>
/// <remarks>
/// <code>
///   run   ├── 25 % ──┤ down: refuses connections ├── until 60 % ──┤ slow: a second for each answer ├── ──┤
/// </code>
/// Threading: it answers one request at a time, because a server sends a webhook one request at a time.
/// </remarks>
internal sealed class WebhookReceiver(SwarmRun swarm, Ledger ledger) : IDisposable
{
    private const double SlowSeconds = 1;

    private readonly HttpListener _listener = new();
    private byte[] _secret = [];
    private string _id = "";
    private bool _isSlow;

    /// <summary>Listens, and adds a webhook to the deployment.</summary>
    public async Task BeginAsync(int port, CancellationToken stop)
    {
        var address = $"http://127.0.0.1:{port}/";
        _listener.Prefixes.Add(address);
        _listener.Start();
        string secret;
        (_id, secret) = await swarm.Nodes[0].AddWebhookAsync(new Uri(address), stop);
        _secret = Convert.FromBase64String(secret["whsec_".Length..]);
    }

    /// <summary>Receives until the run ends.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        var options = swarm.Options;
        var faults = FaultsAsync(
            options.Seconds * 0.25, options.ReceiverDownSeconds, options.Seconds * 0.6, options.ReceiverSlowSeconds, stop);
        using var end = stop.Register(_listener.Abort);
        while (true)
        {
            try
            {
                await AnswerAsync(await _listener.GetContextAsync(), stop);
            }
            catch (Exception failure) when (failure is HttpListenerException or ObjectDisposedException or InvalidOperationException)
            {
                stop.ThrowIfCancellationRequested();
                await swarm.Clock.DelayAsync(0.1, stop);
            }

            if (faults.IsFaulted)
                await faults;
        }
    }

    /// <summary>Removes the webhook.</summary>
    public async Task EndAsync()
    {
        foreach (var node in swarm.Nodes)
        {
            if (await swarm.TryAsync(() => node.RemoveWebhookAsync(_id, CancellationToken.None), CancellationToken.None))
                return;
        }
    }

    public void Dispose() => _listener.Close();

    private async Task FaultsAsync(double downAt, double downFor, double slowAt, double slowFor, CancellationToken stop)
    {
        if (downFor > 0)
        {
            await swarm.Clock.UntilAsync(downAt, stop);
            _listener.Stop();
            await swarm.Clock.DelayAsync(downFor, stop);
            _listener.Start();
        }

        if (slowFor > 0)
        {
            await swarm.Clock.UntilAsync(slowAt, stop);
            _isSlow = true;
            await swarm.Clock.DelayAsync(slowFor, stop);
            _isSlow = false;
        }
    }

    private async Task AnswerAsync(HttpListenerContext context, CancellationToken stop)
    {
        using var response = context.Response;
        using var body = new MemoryStream();
        await context.Request.InputStream.CopyToAsync(body, stop);
        if (!IsSigned(context.Request.Headers, body.ToArray()))
        {
            swarm.Report(Verdict.Broken(ViolationKind.NotDone, "a webhook's signature is wrong"), 0, swarm.Clock.Now, ledger.Name, []);
            response.StatusCode = 401;
            return;
        }

        if (_isSlow)
            await swarm.Clock.DelayAsync(SlowSeconds, stop);
        using var json = JsonDocument.Parse(body.ToArray());
        foreach (var item in json.RootElement.EnumerateArray())
        {
            if (item.GetProperty("type").GetString() == "aglow.presence.gap")
                ledger.Gaps.Add();
            else if (Change.Read(item.GetProperty("id").GetString()!, item.GetProperty("data")) is { } change)
                ledger.Receive(change);
        }

        response.StatusCode = 204;
    }

    private bool IsSigned(System.Collections.Specialized.NameValueCollection headers, byte[] body)
    {
        byte[] signed = [.. Encoding.UTF8.GetBytes($"{headers["webhook-id"]}.{headers["webhook-timestamp"]}."), .. body];
        var expected = $"v1,{Convert.ToBase64String(HMACSHA256.HashData(_secret, signed))}";
        return (headers["webhook-signature"] ?? "").Split(' ').Contains(expected);
    }
}
