using System.Collections.Frozen;

namespace Aglow.Model;

/// <summary>The definitions an operator declared, with <c>chat</c> and one for each kind of device; fixed at start.</summary>
public sealed class Definitions
{
    /// <summary>How many there are at most: those that may be declared, <c>chat</c>, and one for each kind.</summary>
    public const int Most = AglowOptions.MaxDefinitions + 1 + Planes.Count - (int)Plane.Desktop;

    private readonly FrozenDictionary<string, Definition> _byName;

    /// <summary>Makes them from options that are valid.</summary>
    public Definitions(AglowOptions options)
    {
        Default = Make(Definition.DefaultName, options.Lease, activity: null, endedByLeave: true);
        All =
        [
            Default,
            .. options.Definitions.Select(d => Make(
                d.Key,
                (uint)(d.Value.PulseSeconds ?? options.LeaseSeconds),
                (uint?)d.Value.ActivitySeconds,
                d.Value.EndedByLeave)),
            .. Enum.GetValues<DeviceKind>().Select(kind => Make(NameOf(kind), options.Lease, activity: null, endedByLeave: true) with { Kind = kind }),
        ];
        _byName = All.ToFrozenDictionary(static d => d.Name, StringComparer.Ordinal);

        Definition Make(string name, uint pulse, uint? activity, bool endedByLeave) => new(name, pulse, activity, endedByLeave)
        {
            DeviceLeftSeconds = Math.Min(pulse, (uint)options.HeartbeatSeconds + Definition.DeviceLeftMarginSeconds),
        };
    }

    /// <summary><c>chat</c>: a heartbeat within the lease, ended by a goodbye.</summary>
    public Definition Default { get; }

    /// <summary>All of them: the default, those that were declared, and those of kinds.</summary>
    public IReadOnlyList<Definition> All { get; }

    /// <summary>The definition of this name (the default for null), or null where there is none.</summary>
    public Definition? Find(string? name) => name is null ? Default : _byName.GetValueOrDefault(name);

    /// <summary>What a kind of device, and the definition of being online on one, is called.</summary>
    public static string NameOf(DeviceKind kind) => kind switch
    {
        DeviceKind.Desktop => "desktop",
        DeviceKind.Mobile => "mobile",
        DeviceKind.Web => "web",
        _ => "other",
    };
}
