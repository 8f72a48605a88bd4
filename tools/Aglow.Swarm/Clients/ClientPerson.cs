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
    private const double Silent = 1.6;
    private const double ConfirmEvery = 3;
    private const int Device = 0;

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
        var session = new Session(this, swarm);
        using var listening = swarm.Listen(session.Watches);
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

            session.Watches.End();
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
        var act = Deeds.Add(new Act(ActKind.LeaveLast, Device, swarm.Clock.Now, double.PositiveInfinity, IsSure: false));
        var isHeard = await client.LeaveAsync();
        Deeds.Settle(act, swarm.Clock.Now + (isHeard ? 0 : swarm.Promises.Trailing), isHeard);
    }

    private double Draw(double mean) => Math.Clamp(-mean * Math.Log(1 - _random.NextDouble()), 2, 10 * mean);

    private sealed class Session : IClientListener
    {
        private readonly ClientPerson _person;
        private readonly PeopleRun _swarm;
        private readonly Lock _gate = new();
        private readonly Deed _connect;
        private double? _openSince;
        private bool _hasEnded;

        public Session(ClientPerson person, PeopleRun swarm)
        {
            (_person, _swarm) = (person, swarm);
            Watches = new Watches(swarm, "a real client");
            // while it tries, the server may hear of it at any time
            _connect = person.Deeds.Add(
                new Act(ActKind.Connect, Device, swarm.Clock.Now, double.PositiveInfinity, IsSure: false));
        }

        public Watches Watches { get; }

        public void Changed(bool isOpen)
        {
            lock (_gate)
            {
                if (_hasEnded)
                    return;
                var now = _swarm.Clock.Now;
                if (isOpen && _openSince is null)
                    _person.Deeds.Add(
                        new Act(ActKind.Connect, Device, now - _swarm.Promises.Trailing, now, IsSure: !_swarm.Promises.IsDisturbed));
                _openSince = isOpen ? _openSince ?? now : null;
            }
        }

        public void Hear(uint user, Told? told)
        {
            if (told is { } record)
                Watches.Hear(user, record, _swarm.Clock.Now, isFresh: false);
            else
                Watches.Forget(user, _swarm.Clock.Now);
        }

        /// <summary>Called every few seconds.</summary>
        public void Confirm()
        {
            lock (_gate)
            {
                var now = _swarm.Clock.Now;
                var heard = now - (Silent * _swarm.Promises.Heartbeat) - _swarm.Lag;
                if (!_hasEnded && _openSince < heard)
                    _person.Deeds.Add(new Act(ActKind.Pong, Device, heard, now, IsSure: true));
            }
        }

        public void End()
        {
            lock (_gate)
            {
                _hasEnded = true;
                _person.Deeds.Settle(_connect, _swarm.Clock.Now + _swarm.Promises.Trailing, isSure: false);
            }
        }
    }
}
