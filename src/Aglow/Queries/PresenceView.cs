using Aglow.Users;

namespace Aglow.Queries;

/// <summary>
/// Presence as one viewer sees it: the queries of <see cref="PresenceService"/>, limited to what the viewer may see.
/// </summary>
public readonly struct PresenceView
{
    private readonly PresenceQueries _all;

    internal PresenceView(PresenceQueries all, uint viewer)
    {
        _all = all;
        Viewer = viewer;
    }

    /// <summary>The viewer. <see cref="UserId.Nobody"/> is a stranger, who sees what everyone sees.</summary>
    public uint Viewer { get; }

    /// <summary>One user's status.</summary>
    public async ValueTask<Presence> StatusAsync(uint user, Definition? definition = null)
    {
        var truth = await _all.StatusAsync(user, definition ?? _all.DefaultDefinition);
        return _all.Visibilities.IsEmpty ? truth : _all.Visibilities.Show(Viewer, user, truth, _all.Clock.Now);
    }

    /// <summary>Statuses, in the order of the users.</summary>
    public async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Definition definition, Memory<Presence> statuses)
    {
        await _all.Statuses.ReadAsync(users, definition, statuses);
        Show(users.Span, statuses.Span);
    }

    /// <summary>Statuses as packed words; see <see cref="StatusReader.ReadPackedAsync"/>.</summary>
    public async ValueTask ReadPackedAsync(ReadOnlyMemory<uint> users, Definition definition, Memory<uint> packed)
    {
        if (_all.Visibilities.IsEmpty)
        {
            await _all.Statuses.ReadPackedAsync(users, definition, packed);
            return;
        }

        // packed may be the memory of users, which is still needed
        var requested = users.ToArray();
        await _all.Statuses.ReadPackedAsync(requested, definition, packed);
        for (var i = 0; i < requested.Length; i++)
        {
            var word = packed.Span[i];
            packed.Span[i] = _all.Visibilities.Between(Viewer, requested[i]) switch
            {
                Sight.All => word,
                Sight.Nothing => 0,
                _ => word & (1u << 31),
            };
        }
    }

    /// <summary>Users shown online, a page at a time; see <see cref="PresenceService.ListOnlineAsync(Definition, int, string)"/>.</summary>
    public ValueTask<OnlinePage> ListOnlineAsync(Definition definition, int limit, string? cursor) =>
        _all.ListOnlineAsync(definition, limit, cursor, this);

    private void Show(ReadOnlySpan<uint> users, Span<Presence> statuses)
    {
        if (_all.Visibilities.IsEmpty)
            return;
        var now = _all.Clock.Now;
        for (var i = 0; i < users.Length; i++)
            statuses[i] = _all.Visibilities.Show(Viewer, users[i], statuses[i], now);
    }
}
