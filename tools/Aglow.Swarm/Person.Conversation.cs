using System.Text.Json;
using Aglow.Swarm.Devices;

namespace Aglow.Swarm;

/// <content>The messages of a person's socket.</content>
internal sealed partial class Person
{
    /// <summary>The messages of one connection: reads them, answers pings, and records each answer as evidence.</summary>
    private sealed class Conversation(
        Person person, PeopleRun swarm, SocketConnection connection, DeviceSession device, Watches watches, double began)
    {
        private readonly Queue<(Deed Act, ActKind Kind, double At)> _unconfirmed = new();
        private double _spokeAt = began;

        public SocketConnection Connection => connection;

        public Watches Watches => watches;

        /// <summary>Whether the leave was sent; later messages do not count.</summary>
        public bool IsLeaving { get; set; }

        /// <summary>Whether the server closed the connection with a close frame.</summary>
        public bool WasClosedInOrder { get; private set; }

        /// <summary>Whether the node is about to stop, and has said when to reconnect.</summary>
        public bool WasSentAway { get; private set; }

        public async Task ReadAsync(CancellationToken stop)
        {
            while (true)
            {
                var (kind, payload) = await connection.ReadAsync(stop);
                if (kind == FrameKind.Close)
                {
                    WasClosedInOrder = true;
                    if (IsLeaving)
                        return;
                    throw new IOException("the server closed the connection");
                }

                if (kind == FrameKind.Ping && !IsLeaving)
                    await EvidenceAsync(ActKind.Pong, () => connection.PongAsync(payload, stop));
                else if (kind == FrameKind.Text)
                    Receive(payload, stop);
            }
        }

        private void Receive(ReadOnlyMemory<byte> message, CancellationToken stop)
        {
            switch (watches.Receive(message, swarm.Clock.Now))
            {
                case "error":
                    swarm.Measures.CountError(new IOException(System.Text.Encoding.UTF8.GetString(message.Span)));
                    break;
                case "reconnect":
                    WasSentAway = true;
                    using (var json = JsonDocument.Parse(message))
                        _ = GoAsync(json.RootElement.GetProperty("after_ms").GetDouble() / 1000, stop);
                    break;
            }
        }

        private async Task GoAsync(double seconds, CancellationToken stop)
        {
            await swarm.Clock.DelayAsync(seconds, stop);
            watches.End();
            connection.Close();
        }

        public async Task SendAsync(string json, CancellationToken stop, ActKind kind = ActKind.Message)
        {
            _spokeAt = swarm.Clock.Now;
            await EvidenceAsync(kind, () => connection.SendAsync(json, stop));
        }

        private async Task EvidenceAsync(ActKind kind, Func<Task> send)
        {
            var now = swarm.Clock.Now;
            var act = person.Deeds.Add(new Act(kind, device.Number, now, now + swarm.Promises.Trailing, IsSure: false));
            await send();
            lock (_unconfirmed)
                _unconfirmed.Enqueue((act, kind, now));
        }

        /// <summary>Marks answers as surely received if they were sent over a second ago and the connection is still open.</summary>
        public void Confirm()
        {
            lock (_unconfirmed)
            {
                while (_unconfirmed.TryPeek(out var sent) && sent.At + swarm.Promises.ReceivedAfter + swarm.Lag <= swarm.Clock.Now)
                {
                    _unconfirmed.Dequeue();
                    // after a leave, the server ignores the pongs of older connections until the person does something
                    bool isHeeded;
                    lock (person._gate)
                        isHeeded = person._leaves == 0 && Math.Min(_spokeAt, sent.At) > person._lastLeaveTo;
                    if (!isHeeded)
                        continue;
                    var mayHide = sent.Kind == ActKind.Active
                        && person._claims?.HiddenIn(sent.At - swarm.Promises.Bound, sent.At + swarm.Promises.ReceivedAfter).May == true;
                    person.Deeds.Settle(sent.Act, sent.At + swarm.Promises.ReceivedAfter, isSure: !mayHide);
                    // activity of a person who hides is not noted, but the message is heard
                    if (mayHide)
                        person.Deeds.Add(
                            new Act(ActKind.Message, device.Number, sent.At, sent.At + swarm.Promises.ReceivedAfter, IsSure: true));
                }
            }
        }
    }
}
