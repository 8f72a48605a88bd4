using Aglow.Swarm.Devices;

namespace Aglow.Swarm.Clients;

/// <summary>A person with one device, which runs a real client: comes, watches others, and leaves or vanishes, again and again.</summary>
/// <remarks>
/// An app sees less than the swarm's own devices: it does not see pings, only whether the connection is open. The server pings once in a
/// heartbeat interval. So if a connection stays open for longer, the server surely heard from it within that interval, with a margin for a
/// busy machine.
/// <code>
///   connect() ├── may be online ──┤ open ├── surely heard 1.6 heartbeats ago, noted every 3 s ──┤ leave(), or closed
/// </code>
/// </remarks>
internal sealed class ClientPerson(PeopleRun swarm, Func<IRealClient> create, uint user, int node, uint[] follows, int seed)
{
    private const double MeanSession = 50;
    private const double MeanPause = 15;
    private const double ConfirmEvery = 3;

    private readonly Random _random = new(seed);

    /// <summary>What the device did.</summary>
    public Deeds Deeds { get; } = new(swarm.Promises, namesDevices: false);

    /// <summary>Comes and goes until the run, or the part before the quiet time, is over.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        while (true)
        {
            await swarm.Clock.DelayAsync(Draw(MeanPause), stop);
            if (swarm.Clock.Now >= swarm.Options.Seconds)
                await swarm.Clock.UntilAsync(double.PositiveInfinity, stop);
            await RunSessionAsync(stop);
        }
    }

    private async Task RunSessionAsync(CancellationToken stop)
    {
        var session = new ClientSession(Deeds, swarm);
        using var watches = session.Watches;
        var client = create();
        try
        {
            client.Connect(swarm.Nodes[node].Address, user, follows, session);
            var until = swarm.Clock.Now + Draw(MeanSession);
            while (swarm.Clock.Now < until || until > swarm.Options.Seconds)
            {
                await swarm.Clock.DelayAsync(ConfirmEvery, stop);
                session.Confirm();
            }

            watches.End();
            if (_random.NextDouble() < 0.5)
                await LeaveAsync(client);
        }
        finally
        {
            session.End();
            await client.DisposeAsync();
        }
    }

    private async Task LeaveAsync(IRealClient client)
    {
        var act = Deeds.Add(new Act(ActKind.LeaveLast, ClientSession.Device, swarm.Clock.Now, double.PositiveInfinity, IsSure: false));
        var isAcknowledged = await client.LeaveAsync();
        Deeds.Settle(act, swarm.Clock.Now + (isAcknowledged ? 0 : swarm.Promises.Trailing), isAcknowledged);
    }

    private double Draw(double mean) => Math.Clamp(-mean * Math.Log(1 - _random.NextDouble()), 2, 10 * mean);
}

/// <summary>What an app hears of its client in one session. Called from any thread.</summary>
internal sealed class ClientSession(Deeds deeds, PeopleRun swarm)
{
    public const int Device = 0;

    private const double Silent = 1.6;

    private readonly Lock _gate = new();
    // while it tries, the server may hear of it at any time
    private readonly Deed _connect = deeds.Add(
        new Act(ActKind.Connect, Device, swarm.Clock.Now, double.PositiveInfinity, IsSure: false));
    private double? _openSince;
    private bool _hasEnded;

    public Watches Watches { get; } = swarm.Listen("a real client");

    /// <summary>Notes that the connection opened or closed.</summary>
    public void Changed(bool isOpen)
    {
        lock (_gate)
        {
            if (_hasEnded)
                return;
            var now = swarm.Clock.Now;
            if (isOpen && _openSince is null)
                deeds.Add(new Act(ActKind.Connect, Device, now - swarm.Promises.Trailing, now, IsSure: !swarm.Promises.IsDisturbed));
            _openSince = isOpen ? _openSince ?? now : null;
        }
    }

    /// <summary>A watched user; null: the client says that nothing is known of them now.</summary>
    public void Receive(uint user, ServerRecord? received)
    {
        if (received is { } record)
            Watches.Receive(user, record, swarm.Clock.Now, isFresh: false);
        else
            Watches.Forget(user, swarm.Clock.Now);
    }

    /// <summary>Called every few seconds.</summary>
    public void Confirm()
    {
        lock (_gate)
        {
            var now = swarm.Clock.Now;
            var receivedAt = now - (Silent * swarm.Promises.Heartbeat) - swarm.Lag;
            if (!_hasEnded && _openSince < receivedAt)
                deeds.Add(new Act(ActKind.Pong, Device, receivedAt, now, IsSure: true));
        }
    }

    public void End()
    {
        lock (_gate)
        {
            _hasEnded = true;
            deeds.Settle(_connect, swarm.Clock.Now + swarm.Promises.Trailing, isSure: false);
        }
    }
}
