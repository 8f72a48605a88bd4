using Aglow.Model;

namespace Aglow.Fuzz;

/// <summary>Users whom no input names by ID. An input can reach them only by their indexes.</summary>
internal sealed class Victims
{
    /// <summary>The number of victims; they have the first indexes.</summary>
    public const int Count = 64;

    private const long SeenAt = 1_609_459_200;

    private readonly PresenceService _presence;
    private readonly uint[] _indexes;

    private Victims(PresenceService presence, uint[] indexes) => (_presence, _indexes) = (presence, indexes);

    /// <summary>Only their records have a last seen in the first hundred seconds of 2021.</summary>
    public static ReadOnlySpan<byte> Mark => "\"last_seen\":16094592"u8;

    /// <summary>Registers these users before all others, each seen once.</summary>
    public static async Task<Victims> RegisterAsync(PresenceService presence)
    {
        var indexes = new uint[Count];
        for (var i = 0; i < Count; i++)
        {
            indexes[i] = await presence.RegisterAsync(UserId.Parse($"a victim whom nobody names {i}"));
            await presence.HeartbeatAtAsync(indexes[i], SeenAt + i);
        }

        return new Victims(presence, indexes);
    }

    /// <summary>What an input did to one of these users; null if nothing.</summary>
    public string? WhyTouched()
    {
        for (var i = 0; i < Count; i++)
        {
            var status = _presence.StatusAsync(_indexes[i]).AsTask().GetAwaiter().GetResult();
            if (status.IsOnline || Pulse.ToUnix(status.LastSeen) != SeenAt + i)
                return $"a victim was written by their index: {status}";
            if (_presence.Claims.All(_indexes[i]).Length > 0
                || !_presence.Visibilities.Of(_indexes[i]).IsDefault
                || _presence.Accounts.Of(_indexes[i]) != default)
                return "what a victim set was changed by their index";
        }

        return null;
    }
}
