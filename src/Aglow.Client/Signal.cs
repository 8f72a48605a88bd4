using System.Threading.Channels;

namespace Aglow.Client;

/// <summary>
/// "There is something to look at": wakes one waiter. What there is stands elsewhere, so being told twice is being told once: a channel of one that
/// drops what does not fit.
/// </summary>
internal sealed class Signal
{
    private readonly Channel<bool> _channel = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    /// <summary>Wakes the waiter, now or when it comes.</summary>
    public void Set() => _channel.Writer.TryWrite(true);

    /// <summary>Takes what was set and not waited for.</summary>
    public void Clear() => _channel.Reader.TryRead(out _);

    /// <summary>Waits until it is set, and takes that.</summary>
    public async ValueTask WaitAsync(CancellationToken cancellationToken) => await _channel.Reader.ReadAsync(cancellationToken);
}
