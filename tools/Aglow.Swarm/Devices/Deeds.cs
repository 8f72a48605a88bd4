namespace Aglow.Swarm.Devices;

/// <summary>
/// The acts of one person: the truth about the person and, where devices are named, about each kind of device. Each device of a person has
/// a kind of its own.
/// </summary>
/// <remarks>Threading: as <see cref="Swarm.Truth"/>.</remarks>
internal sealed class Deeds(Promises promises, bool namesDevices)
{
    /// <summary>The kinds, by the number of the device.</summary>
    public static readonly string[] KindNames = ["desktop", "mobile", "web"];

    /// <summary>What is true of the person.</summary>
    public Truth Truth { get; } = new(promises);

    /// <summary>What is true of each kind; empty where devices are not named.</summary>
    public IReadOnlyList<Truth> Kinds { get; } = namesDevices ? [.. KindNames.Select(_ => new Truth(promises))] : [];

    /// <summary>Adds an act.</summary>
    public Deed Add(Act act)
    {
        var ids = new long?[Kinds.Count];
        for (var kind = 0; kind < ids.Length; kind++)
        {
            if (act.Kind is ActKind.Leave or ActKind.Delete || act.Device == kind)
                ids[kind] = Kinds[kind].Add(act.Kind == ActKind.LeaveOne ? act with { Kind = ActKind.LeaveLast } : act);
        }

        return new Deed(Truth.Add(act), ids);
    }

    /// <summary>Sets until when the server can have received an act, and whether it surely did.</summary>
    /// <param name="deed">The act.</param>
    /// <param name="to">Until when.</param>
    /// <param name="isSure">Whether the server surely received it, and it surely has its effect on the person.</param>
    /// <param name="isSureOfKind">The same for the kind of the device.</param>
    public void Settle(Deed deed, double to, bool isSure, bool? isSureOfKind = null)
    {
        Truth.Settle(deed.Id, to, isSure);
        for (var kind = 0; kind < deed.KindIds.Length; kind++)
        {
            if (deed.KindIds[kind] is { } id)
                Kinds[kind].Settle(id, to, isSureOfKind ?? isSure);
        }
    }
}

/// <summary>An act's number in the truth of the person, and in that of each kind.</summary>
internal readonly record struct Deed(long Id, long?[] KindIds);

/// <summary>The rules of devices and of activity. Pure, like <see cref="Judge"/>.</summary>
internal static class DeviceJudge
{
    /// <summary>Judges the kinds of devices in a record; null: it breaks no promise.</summary>
    public static Verdict? OfKinds(IReadOnlyList<Truth> kinds, ServerRecord record, RecordWindow when, bool mayBeHidden)
    {
        if (kinds.Count == 0)
            return null;
        var devices = record.Devices ?? [];
        if (!record.IsOnline)
            return devices.Length == 0 ? null : Verdict.Broken(ViolationKind.NeverTrue, "told offline with devices");
        if (Array.Find(devices, static d => !Deeds.KindNames.Contains(d)) is { } unknown)
            return Verdict.Broken(ViolationKind.NeverTrue, $"told of a device of the kind {unknown}, which the person does not have");
        for (var kind = 0; kind < kinds.Count; kind++)
        {
            var name = Deeds.KindNames[kind];
            var isNamed = devices.Contains(name);
            if (!isNamed && !mayBeHidden && kinds[kind].SurelyOnlineSince(when.From, when.To) is { } since)
                return Verdict.Broken(ViolationKind.FalseOffline, $"told without {name}, which is surely alive since {since:0.000} s");
            if (isNamed && !kinds[kind].IsPossiblyOnline(when.From, when.To, when.Held))
            {
                return Verdict.Broken(
                    ViolationKind.GhostOnline,
                    $"told with {name}, possible only until {kinds[kind].PossiblyOnlineUntil(when.Held):0.000} s");
            }
        }

        return null;
    }
}
