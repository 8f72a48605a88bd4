using System.Threading.Channels;

namespace Aglow.Client;

/// <summary>
/// Wakes one waiter: "there is something to do". The work itself stands elsewhere, so two signals before a wait are one: a channel of one
/// item that drops what does not fit.
/// </summary>
internal sealed class Signal
{
    private readonly Channel<bool> _channel = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    /// <summary>Wakes the waiter, now or when it comes.</summary>
    public void Set() => _channel.Writer.TryWrite(true);

    /// <summary>Clears a signal that nobody waited for.</summary>
    public void Clear() => _channel.Reader.TryRead(out _);

    /// <summary>Waits until it is set, and clears it.</summary>
    public async ValueTask WaitAsync(CancellationToken cancellationToken) => await _channel.Reader.ReadAsync(cancellationToken);
}
