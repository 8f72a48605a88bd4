using System.Threading.Channels;

namespace Aglow.Client;

/// <summary>
/// Wakes one waiter: "there is work". The work itself is kept elsewhere, so two signals before a wait are one. The channel holds one item
/// and drops the rest.
/// </summary>
internal sealed class Signal
{
    private readonly Channel<bool> _channel = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    /// <summary>Wakes the waiter now, or when it next waits.</summary>
    public void Set() => _channel.Writer.TryWrite(true);

    public void Clear() => _channel.Reader.TryRead(out _);

    /// <summary>Waits until the signal is set, and clears it.</summary>
    public async ValueTask WaitAsync(CancellationToken cancellationToken) => await _channel.Reader.ReadAsync(cancellationToken);
}
