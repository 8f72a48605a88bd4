using Aglow.AspNetCore.Sockets;

namespace Aglow.Tests;

public class LocalSocketsTests
{
    [Fact]
    public void A_device_that_does_not_answer_is_not_certainly_alive()
    {
        var (desktop, phone) = (new Device(1, DeviceKind.Desktop), new Device(2, DeviceKind.Mobile));
        var sockets = new LocalSockets();
        var silent = new Connection(phone);
        foreach (var connection in new[] { new Connection(desktop), silent })
        {
            sockets.TryEnter(7, most: 20).ShouldBeTrue();
            sockets.Add(connection, null);
        }

        sockets.Present(7, desktop).ShouldBe([phone]);
        silent.IsSilent = true;
        sockets.Present(7, desktop).ShouldBeEmpty();
        sockets.HasOther(7, desktop).ShouldBeTrue();
        sockets.Present(7).ShouldBe([desktop]);
        silent.IsSilent = false;
        sockets.Present(7, desktop).ShouldBe([phone]);
    }

    private sealed class Connection(Device device) : WatchConnection(7), IDeviceConnection
    {
        public Device Device => device;

        bool IDeviceConnection.IsLeaving => false;

        public bool IsSilent { get; set; }

        void IDeviceConnection.Ignore()
        {
        }

        protected internal override TimeSpan TickInterval => TimeSpan.FromSeconds(10);

        protected internal override bool Send(ReadOnlySpan<byte> json) => true;

        protected internal override bool Tick() => true;

        protected internal override bool Answer(ReadOnlySpan<byte> pingPayload) => true;

        protected internal override void Released()
        {
        }

        protected internal override void End(int code)
        {
        }
    }
}
