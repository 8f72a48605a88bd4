namespace Aglow.Heartbeats;

/// <summary>
/// Remembers which device of a user sent the last heartbeat to this node, and when another one did. With it, a leave is final if no other
/// device can be alive.
/// </summary>
/// <remarks>
/// Only for a single node, which receives all heartbeats. With several nodes, the leave of one device is always provisional.
/// <code>
///   63      32 31       16 15       0
///  +----------+-----------+----------+
///  | device   | heard at  | another  |     a place for each of 2^18 indexes; seconds modulo 2^16
///  +----------+-----------+----------+
/// </code>
/// Anything unknown counts as another device: users who share a place; a device with a name and one without; the first lease after a
/// restart; and a lease after packed heartbeats, which are not noted one by one. Rejected: to decide by the old word, which cannot tell two
/// devices in the same second apart. 2 MiB at most. Threading: any thread. Of two simultaneous notes one may be lost; the next comes within
/// an interval.
/// </remarks>
internal sealed class RecentDevices
{
    private const int Places = 1 << 18;

    private readonly long[] _places = new long[Places];
    private readonly uint _lease;
    private uint _zero;
    private uint _packedAt;

    /// <summary>Starts to remember devices.</summary>
    /// <param name="lease">How long a heartbeat lasts, in seconds.</param>
    /// <param name="now">The second of the start.</param>
    /// <param name="isFirstRun">Whether no heartbeat can have come before.</param>
    public RecentDevices(uint lease, uint now, bool isFirstRun)
    {
        _lease = Math.Min(lease, ushort.MaxValue / 2);
        // an empty place means that another device sent a heartbeat at second 0
        _zero = isFirstRun ? now - _lease - 1 : now;
        _packedAt = _zero;
    }

    /// <summary>Forgets all devices, because the clock jumped.</summary>
    public void Forget(uint now)
    {
        Array.Clear(_places);
        (_zero, _packedAt) = (now, now);
    }

    public void NoteHeartbeat(uint user, Device device, uint now)
    {
        ref var place = ref _places[user % Places];
        var was = Volatile.Read(ref place);
        var key = KeyOf(user, device);
        var another = (uint)(was >> 32) == key ? (ushort)was : (ushort)(was >> 16);
        Volatile.Write(ref place, ((long)key << 32) | ((uint)(ushort)(now - _zero) << 16) | another);
    }

    /// <summary>Notes the time of packed heartbeats, whose devices are unknown.</summary>
    public void NotePacked(uint now) => Volatile.Write(ref _packedAt, now);

    /// <summary>Whether no other device of the user sent a heartbeat within the lease.</summary>
    public bool IsOnly(uint user, Device device, uint now)
    {
        var place = Volatile.Read(ref _places[user % Places]);
        var another = (uint)(place >> 32) == KeyOf(user, device) ? (ushort)place : (ushort)(place >> 16);
        return (ushort)(now - _zero - another) > _lease && now - Volatile.Read(ref _packedAt) > _lease;
    }

    private static uint KeyOf(uint user, Device device) => (user * 0x9E37_79B1) ^ device.Tag;
}
