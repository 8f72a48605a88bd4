using Aglow.Model;

namespace Aglow.Heartbeats;

/// <summary>
/// Which device of a user was heard last on this node, and when another was: so that a goodbye is final where nothing else can be alive.
/// </summary>
/// <remarks>
/// For a node that hears everybody. Of many nodes none knows what the others heard, so there this is not used, and the goodbye of one
/// device is provisional always.
/// <code>
///   63      32 31       16 15       0
///  +----------+-----------+----------+
///  | device   | heard at  | another  |     a place for each of 2^18 numbers; seconds modulo 2^16
///  +----------+-----------+----------+
/// </code>
/// What is not known counts as another device: users who share a place, a device that names itself and one that does not, the first lease
/// of a run after another, and everything for a lease after packed heartbeats, which are not noted one by one. The rejected alternative, to
/// count what the old word says, cannot tell two devices that are heard in the same second. 2 MiB at most. Threading: any thread; of two
/// notes at once one may be lost, and the next comes in an interval.
/// </remarks>
internal sealed class RecentDevices
{
    private const int Places = 1 << 18;

    private readonly long[] _places = new long[Places];
    private readonly uint _lease;
    private uint _zero;
    private uint _packedAt;

    /// <summary>What is heard from now on.</summary>
    /// <param name="lease">How long a heartbeat lasts.</param>
    /// <param name="now">The second of the start.</param>
    /// <param name="isFirstRun">Whether nobody can have been heard before.</param>
    public RecentDevices(uint lease, uint now, bool isFirstRun)
    {
        _lease = Math.Min(lease, ushort.MaxValue / 2);
        // an empty place says that another was heard at second 0
        _zero = isFirstRun ? now - _lease - 1 : now;
        _packedAt = _zero;
    }

    /// <summary>The clock jumps: what was noted before is not known any more.</summary>
    public void Forget(uint now)
    {
        Array.Clear(_places);
        (_zero, _packedAt) = (now, now);
    }

    /// <summary>A device of a user is heard.</summary>
    public void Heard(uint user, Device device, uint now)
    {
        ref var place = ref _places[user % Places];
        var was = Volatile.Read(ref place);
        var key = KeyOf(user, device);
        var another = (uint)(was >> 32) == key ? (ushort)was : (ushort)(was >> 16);
        Volatile.Write(ref place, ((long)key << 32) | ((uint)(ushort)(now - _zero) << 16) | another);
    }

    /// <summary>Devices of many users are heard, and not noted.</summary>
    public void HeardPacked(uint now) => Volatile.Write(ref _packedAt, now);

    /// <summary>Whether this device is the only one of its user that was heard within the lease.</summary>
    public bool IsOnly(uint user, Device device, uint now)
    {
        var place = Volatile.Read(ref _places[user % Places]);
        var another = (uint)(place >> 32) == KeyOf(user, device) ? (ushort)place : (ushort)(place >> 16);
        return (ushort)(now - _zero - another) > _lease && now - Volatile.Read(ref _packedAt) > _lease;
    }

    private static uint KeyOf(uint user, Device device) => (user * 0x9E37_79B1) ^ device.Tag;
}
