using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Changes;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// What people and backends claim of a user: <c>/users/{user}/status</c> and <c>/users/{user}/quiet-hours</c>. A change is durable before
/// it is answered.
/// </summary>
internal sealed class ClaimEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    private static readonly int[] WriteProblems = [422, 501];

    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        Call.ReadOfUser(
            Routes.Claims, "claims", "What is claimed of a user, the claim that is shown first", ListAsync,
            typeof(ClaimsDocument), problems: [501]),
        Call.ChangeOfUser(
            HttpMethods.Put, Routes.Claims, "set status", "Sets what a source claims of a user", SetAsync,
            typeof(StatusBody), typeof(StatusDocument), problems: WriteProblems),
        Call.ChangeOfUser(
            HttpMethods.Delete, Routes.Claims, "remove status", "Removes what a source claims of a user", RemoveAsync) with
        {
            Query = [new(Routes.SourceQuery, "The source; \"user\" where it is not given.")],
            Problems = WriteProblems,
        },
        Call.ReadOfUser(
            Routes.QuietHours, "quiet hours", "When a user does not want to be disturbed", ReadHoursAsync, typeof(QuietHoursDocument)),
        Call.ChangeOfUser(
            HttpMethods.Put, Routes.QuietHours, "set quiet hours", "Sets when a user does not want to be disturbed", SetHoursAsync,
            typeof(QuietHoursBody), typeof(QuietHoursDocument), problems: WriteProblems),
        Call.ChangeOfUser(
            HttpMethods.Delete, Routes.QuietHours, "remove quiet hours", "Removes a user's quiet hours",
            RemoveHoursAsync, problems: [501]));

    private async Task SetAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        var (source, claim) = (await RequestBodies.ReadAsync(context, ClaimBody.Example, ClaimBody.Read)).ToClaim(host.Presence.Clock.Now);
        var user = await DirectoryUsers.RegisterAsync(context, host.Presence, gate, requested);
        if (claim is null)
            await host.Presence.RemoveClaimAsync(user, source);
        else if (!await host.Presence.SetClaimAsync(user, claim))
            throw Problems.TooManySources();
        var presence = await (await callers.ViewAsync(context)).StatusAsync(user);
        var document = new StatusDocument(
            UserJson.Of(requested),
            presence.IsOnline,
            ChangeWords.Of(presence.Status),
            Pulse.ToUnix(presence.LastSeen),
            Claim.NameOf(host.Presence.Claims.ChosenBy(user, host.Presence.Clock.Now)),
            Words.Of(presence.About),
            presence.Details?.Text,
            presence.Details?.Emoji,
            Pulse.ToUnix(presence.Details?.Until ?? 0),
            Words.Of(presence.Devices),
            Pulse.ToUnix(presence.ActiveAt));
        await Answers.JsonAsync(context, document, Documents.Sent.StatusDocument);
    }

    private async Task ListAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        var user = await host.Presence.FindAsync(requested);
        await Answers.JsonAsync(context, new ClaimsDocument(UserJson.Of(requested), List(user)), Documents.Sent.ClaimsDocument);
    }

    private ClaimDocument[] List(uint user)
    {
        var now = host.Presence.Clock.Now;
        var all = host.Presence.Claims.All(user).ToArray();
        var shown = EffectiveClaim.Of(all, now).Claim?.Source;
        return
        [
            .. all.Select(claim => claim.At(now)).OfType<Claim>()
                .OrderByDescending(claim => claim.Source == shown)
                .ThenBy(static claim => claim, Comparer<Claim>.Create(EffectiveClaim.Compare))
                .Select(claim => new ClaimDocument(
                    claim.Source,
                    Claim.NameOf(claim.Status),
                    claim.Details?.Text,
                    claim.Details?.Emoji,
                    Pulse.ToUnix(claim.Until),
                    claim.Priority,
                    claim.SetAt / 1000,
                    claim.Source == shown)),
        ];
    }

    private async Task RemoveAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        await RemoveAsync(context, requested, ClaimBody.Source(RequestParameters.Text(context, Routes.SourceQuery) ?? Claim.UserSource));
    }

    private async Task ReadHoursAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        await SendHoursAsync(context, requested, HoursOf(await host.Presence.FindAsync(requested))
            ?? throw new ProblemException(
                StatusCodes.Status404NotFound, "No quiet hours", $"This user has none. Set them with PUT {Routes.QuietHours}."));
    }

    private async Task SetHoursAsync(HttpContext context)
    {
        var requested = await RequestedUserAsync(context);
        var hours = await RequestBodies.ReadAsync(context, QuietHoursReader.Example, QuietHoursReader.Read);
        var user = await DirectoryUsers.RegisterAsync(context, host.Presence, gate, requested);
        // quiet hours do not count against the limit of sources, so this cannot fail
        await host.Presence.SetClaimAsync(user, Claim.Quiet(hours));
        await SendHoursAsync(context, requested, hours);
    }

    private async Task RemoveHoursAsync(HttpContext context) =>
        await RemoveAsync(context, await RequestedUserAsync(context), Claim.QuietHoursSource);

    private async Task RemoveAsync(HttpContext context, UserId requested, string source)
    {
        var user = await host.Presence.FindAsync(requested);
        if (user != UserId.Nobody)
            await host.Presence.RemoveClaimAsync(user, source);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private QuietHours? HoursOf(uint user)
    {
        foreach (var claim in host.Presence.Claims.All(user))
        {
            if (claim.Hours is { } hours)
                return hours;
        }

        return null;
    }

    private Task SendHoursAsync(HttpContext context, UserId requested, QuietHours hours)
    {
        var (isQuiet, changesAt) = hours.Now(host.Presence.Clock.Now);
        return Answers.JsonAsync(
            context,
            new QuietHoursDocument(
                UserJson.Of(requested),
                hours.Days,
                QuietHours.Write(hours.From),
                QuietHours.Write(hours.To),
                hours.Zone,
                isQuiet,
                Pulse.ToUnix(changesAt)!.Value),
            Documents.Sent.QuietHoursDocument);
    }

    private ValueTask<UserId> RequestedUserAsync(HttpContext context) =>
        DirectoryUsers.RequestedUserAsync(context, callers, host.Presence, fromEnd: 1);
}
