using Aglow.Swarm.Claims;
using Aglow.Swarm.Devices;

namespace Aglow.Swarm;

/// <content>Changes of a person's account and claims, and the record of leaves that all devices share.</content>
internal sealed partial class Person
{
    // ---- claims ---------------------------------------------------------------------------------------------------------------

    private async Task RunClaimsAsync(CancellationToken stop)
    {
        if (_claims is null)
            return;
        foreach (var change in plan.Claims)
        {
            await swarm.Clock.UntilAsync(change.At, stop);
            await _claiming.WaitAsync(stop);
            try
            {
                var second = (long)Math.Floor(swarm.Promises.UnixAtZero + swarm.Clock.Now);
                await ClaimAsync(_claims, change, change.What with { Until = change.What.Until + second }, stop);
            }
            finally
            {
                _claiming.Release();
            }
        }
    }

    // Repeats the call until it is acknowledged. Until then, both the old claim and the new one may be shown.
    private async Task ClaimAsync(ClaimBook claims, ClaimChange change, Claim claim, CancellationToken stop)
    {
        claims.Set(swarm.Clock.Now, claim, change.Removes);
        var node = change.Node;
        while (!await swarm.TryAsync(SendAsync, stop))
        {
            node++;
            await swarm.Clock.DelayAsync(1, stop);
        }

        swarm.Measures.Claims.Add();
        claims.Acknowledge(swarm.Clock.Now);

        Task SendAsync()
        {
            var at = swarm.Nodes[node % swarm.Nodes.Count];
            // the server refuses a claim that has ended by now; no claim looks the same
            var removes = change.Removes || !claim.IsInForce((long)(swarm.Promises.UnixAtZero + swarm.Clock.Now));
            return removes ? at.RemoveClaimAsync(user, claim.Source, stop) : at.SetClaimAsync(user, claim, stop);
        }
    }

    // ---- the account ----------------------------------------------------------------------------------------------------------

    private async Task RunChangesAsync(CancellationToken stop)
    {
        if (!swarm.Options.ChangesAccounts)
            return;
        foreach (var change in plan.Changes)
        {
            await swarm.Clock.UntilAsync(change.At, stop);
            if (await swarm.TryAsync(() => ChangeAsync(swarm.Nodes[change.Node], change, stop), stop))
                swarm.Measures.AccountChanges.Add();
        }
    }

    private async Task ChangeAsync(Node node, AccountChange change, CancellationToken stop)
    {
        if (change.Kind == AccountChangeKind.Rename)
        {
            var name = $"swarm-{user}-{change.At:0}";
            await node.RenameAsync(user, name, stop);
            await RequireNameAsync(node, name, stop);
            return;
        }

        if (change.Kind == AccountChangeKind.Delete && _claims is not null)
        {
            await _claiming.WaitAsync(stop);
            _claims.Erase(swarm.Clock.Now);
        }

        var began = swarm.Clock.Now;
        var kind = change.Kind == AccountChangeKind.Delete ? ActKind.Delete : ActKind.Leave;
        var act = BeginLeave(kind, NoDevice);
        var isAcknowledged = false;
        try
        {
            await (change.Kind == AccountChangeKind.Delete ? node.DeleteAsync(user, stop) : node.RevokeAsync(user, stop));
            isAcknowledged = true;
        }
        finally
        {
            EndLeave(kind, act, isAcknowledged);
            if (change.Kind == AccountChangeKind.Delete && _claims is not null)
            {
                // after a failed call, the claims may or may not be erased, so both stay possible
                if (isAcknowledged)
                    _claims.Acknowledge(swarm.Clock.Now);
                _claiming.Release();
            }
        }

        if (change.Kind == AccountChangeKind.Delete)
            await RequireNameAsync(node, null, stop);
        await swarm.Clock.DelayAsync(EndNoticed, stop);
        lock (_gate)
        {
            if (_held.Find(h => h.IsWell && h.OpenedAt < began) is { } open)
                Report(
                    $"a socket that was opened at {open.OpenedAt:0.000} s is open, {change.Kind} was answered before "
                        + $"{swarm.Clock.Now - EndNoticed:0.000} s");
        }
    }

    private async Task RequireNameAsync(Node node, string? name, CancellationToken stop)
    {
        if (await node.NameAsync(user, stop) is var read && read != name)
            Report($"the user name is {read ?? "none"}, {name ?? "none"} was acknowledged");
    }

    private void Report(string why) =>
        swarm.Report(Verdict.Broken(ViolationKind.NotDone, why), user, swarm.Clock.Now, "by a change of the account", []);

    // While a leave for all devices is on its way, the order of the leave and other messages is unknown.
    private Deed BeginLeave(ActKind kind, int device)
    {
        lock (_gate)
            _leaves += kind == ActKind.LeaveOne ? 0 : 1;
        return Deeds.Add(new Act(kind, device, swarm.Clock.Now, double.PositiveInfinity, IsSure: false));
    }

    private void EndLeave(ActKind kind, Deed act, bool isAcknowledged, bool isSure = true, bool mayHaveBeenLast = false)
    {
        var receivedAt = swarm.Clock.Now + (isAcknowledged ? 0 : swarm.Promises.Trailing);
        lock (_gate)
        {
            _leaves -= kind == ActKind.LeaveOne ? 0 : 1;
            if (kind != ActKind.LeaveOne || mayHaveBeenLast)
                _lastLeaveTo = Math.Max(_lastLeaveTo, receivedAt);
        }

        Deeds.Settle(act, receivedAt, isAcknowledged && isSure, isAcknowledged);
    }
}
