using System.IO.Pipelines;
using Aglow.AspNetCore.Sockets;

namespace Aglow.Tests;

public sealed class PipeOutputTests
{
    [Fact]
    public async Task Frames_that_come_while_the_client_does_not_read_follow_the_earlier_ones_once()
    {
        using var client = new Client();
        var output = new PipeOutput(PipeWriter.Create(client));
        output.Send([1, 2, 3]).ShouldBeFalse();
        // the hub sends urgent frames, such as stale and close, to a client that does not read
        output.Send([4]).ShouldBeFalse();
        output.Send([5, 6]).ShouldBeFalse();
        client.Read();
        for (var tries = 0; !output.Send([7]); tries++)
        {
            tries.ShouldBeLessThan(3000);
            await Task.Delay(10);
        }

        client.Received[..6].ShouldBe([1, 2, 3, 4, 5, 6]);
        client.Received.Skip(6).ShouldAllBe(static one => one == 7);
        client.MostWritesAtATime.ShouldBe(1);
    }

    /// <summary>A client that takes nothing until it reads.</summary>
    private sealed class Client : MemoryStream
    {
        private readonly TaskCompletionSource _reads = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _writes;

        public List<byte> Received { get; } = [];

        public int MostWritesAtATime { get; private set; }

        public void Read() => _reads.SetResult();

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            MostWritesAtATime = Math.Max(MostWritesAtATime, Interlocked.Increment(ref _writes));
            await _reads.Task;
            lock (Received)
                Received.AddRange(buffer.ToArray());
            Interlocked.Decrement(ref _writes);
        }
    }
}
