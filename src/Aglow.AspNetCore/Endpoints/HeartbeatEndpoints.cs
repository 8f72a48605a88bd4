using System.Text;
using System.Text.Json;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Heartbeats;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// Heartbeats and leaves: <c>POST /heartbeat</c>, <c>/status/update</c>, <c>/offline</c>.
/// </summary>
/// <remarks>
/// The single heartbeat decides the capacity of a server. So <see cref="HeartbeatAsync"/> has a fast path for the usual one: a small body
/// that has arrived whole, one user, a renewal. It does not wait, allocates nothing, and sends an answer that was encoded at the start. All
/// other requests, also invalid ones, take the general path, which reads the same body again.
/// </remarks>
internal sealed class HeartbeatEndpoints(PresenceHost host, Callers callers, Gate gate, ProblemAnswers problems)
{
    private readonly byte[] _heartbeatAnswer = System.Text.Encoding.UTF8.GetBytes(
        $"{{\"status\":\"success\",\"next_heartbeat_seconds\":{host.Options.HeartbeatSeconds},"
            + $"\"offline_after_seconds\":{host.Options.LeaseSeconds}}}");

    // enough for one user in any encoding; the general path may refuse a longer body while it reads it
    private const int UsualBodyBytes = 2048;

    private RequestDelegate? _anyHeartbeats;

    public void Map(IEndpointRouteBuilder routes)
    {
        _anyHeartbeats = gate.AnswerFailures(AnyHeartbeatsAsync);
        routes.MapCalls(
            gate,
            new Call(HttpMethods.Post, Routes.Heartbeat, "heartbeat", "These users are alive now", HeartbeatAsync)
            {
                AnswersFailures = true,
                Access = CallAccess.People(Scopes.Heartbeat),
                Bodies = [new(Routes.Json, typeof(HeartbeatBody)), new(Routes.Packed)],
                BodyIsOptional = true,
                Answers = [new(Routes.Json, typeof(HeartbeatDocument)), new(Routes.Json, typeof(AcceptedDocument))],
                Problems = [404, 507],
            },
            new Call(HttpMethods.Post, Routes.StatusUpdate, "late heartbeat", "A user was alive at a given second", LateHeartbeatAsync)
            {
                Access = CallAccess.People(Scopes.Heartbeat),
                Bodies = [new(Routes.Json, typeof(StatusUpdateBody))],
                Answers = [new(Routes.Json, typeof(SuccessDocument))],
                Problems = [404, 507],
            },
            new Call(HttpMethods.Post, Routes.Offline, "leave", "These users leave now, on all devices", LeaveAsync)
            {
                Access = CallAccess.People(Scopes.Heartbeat),
                Bodies = [new(Routes.Json, typeof(HeartbeatBody)), new(Routes.Packed)],
                BodyIsOptional = true,
                Answers = [new(Routes.Json, typeof(SuccessDocument))],
            });
    }

    private Task HeartbeatAsync(HttpContext context)
    {
        try
        {
            if (!TryReadUsual(context, out var user, out var active))
                return _anyHeartbeats!(context);
            var heartbeat = host.Presence.HeartbeatAsync(user, active);
            if (!heartbeat.IsCompletedSuccessfully)
                return FinishAsync(context, heartbeat.AsTask());
            var admission = heartbeat.Result;
            return admission == Admission.Accepted
                ? Answers.Ready(context, _heartbeatAnswer)
                : FinishAsync(context, Task.FromResult(admission));
        }
        catch (Exception failure) when (!context.Response.HasStarted)
        {
            // a broken body, or a store that is away
            return problems.AnswerAsync(context, failure);
        }
    }

    // Reads an empty body from the person themself, or one user in JSON from a caller who may speak for them. False: nothing was consumed,
    // and the general path reads the body again.
    private bool TryReadUsual(HttpContext context, out uint user, out bool active)
    {
        (user, active) = (0, false);
        var request = context.Request;
        if (request.ContentLength is null or 0)
            return request.ContentLength == 0 && request.ContentType is null or Routes.Json && callers.TryFindSelf(context, out user);
        if (request.ContentLength > UsualBodyBytes
            || !RequestBodies.IsJson(request.ContentType)
            || request.Headers.ContentEncoding.Count > 0
            || !RequestBodies.TryRead(context, out var read))
            return false;
        if (!read.IsCompleted
            || !read.Buffer.IsSingleSegment
            || !UsersBody.TryReadOne(read.Buffer.FirstSpan, host.Presence.KnownKeys, out user, out active)
            || !callers.MaySurelyHeartbeat(context, user)
            || host.Presence.Accounts.IsDisabled(user))
        {
            request.BodyReader.AdvanceTo(read.Buffer.Start, read.Buffer.Start);
            return false;
        }

        request.BodyReader.AdvanceTo(read.Buffer.End);
        return true;
    }

    private async Task FinishAsync(HttpContext context, Task<Admission> heartbeat)
    {
        try
        {
            Require(await heartbeat, "of this heartbeat");
            await Answers.Ready(context, _heartbeatAnswer);
        }
        catch (Exception failure)
        {
            await problems.AnswerAsync(context, failure);
        }
    }

    private async Task AnyHeartbeatsAsync(HttpContext context)
    {
        var presence = host.Presence;
        switch (RequestBodies.Kind(context, packed: true))
        {
            case BodyKind.Empty:
                var caller = callers.Require(context);
                var self = await DirectoryUsers.RegisterAsync(context, presence, gate, caller);
                Callers.RequireLive(presence.Accounts.Of(self), caller: null);
                Require(await presence.HeartbeatAsync(self), Problems.Shown(caller));
                await Answers.Ready(context, _heartbeatAnswer);
                break;
            case BodyKind.Packed:
                await callers.RequireBackendAsync(context, Scopes.Heartbeat);
                var accepted = 0;
                await RequestBodies.ReadPackedAsync(context, async users => accepted += await presence.HeartbeatPackedAsync(users));
                await AcceptedAsync(context, accepted);
                break;
            default:
                using (var users = new UserBatch())
                {
                    var fields = await ReadUsersAsync(context, users);
                    await callers.RequireAsync(context, users, Scopes.Heartbeat);
                    await DirectoryUsers.RegisterAsync(context, presence, gate, users);
                    RequireKnown(users);
                    // in a list, a disabled user must not fail the others: the answer names them
                    if (users.Count == 1)
                        Callers.RequireLive(presence.Accounts.Of(users.Numbers.Span[0]), caller: null);
                    var heartbeat = fields.Device is { } device
                        ? presence.HeartbeatAsync(users.Numbers.Span[0], device, fields.Active)
                        : presence.HeartbeatAsync(users.Numbers, fields.Active);
                    Require(await heartbeat, users.Count == 1 ? Problems.Shown(users, 0) : "with one of these numbers");
                    await AcceptedAsync(context, users);
                }

                break;
        }
    }

    private async Task LateHeartbeatAsync(HttpContext context)
    {
        if (RequestBodies.Kind(context, packed: false) == BodyKind.Empty)
            throw StatusUpdateReader.Expected();
        using var users = new UserBatch(1);
        long timestamp;
        using (var body = await RequestBodies.ReadJsonAsync(context))
            timestamp = StatusUpdateReader.Read(body.Written.Span, host.Presence.KnownKeys, users);
        await callers.RequireAsync(context, users, Scopes.Heartbeat);
        await DirectoryUsers.RegisterAsync(context, host.Presence, gate, users);
        RequireKnown(users);
        var user = users.Numbers.Span[0];
        Callers.RequireLive(host.Presence.Accounts.Of(user), caller: null);
        Require(await host.Presence.HeartbeatAtAsync(user, timestamp), Problems.Shown(users, 0));
        await Answers.Ready(context, PresenceJson.Success);
    }

    private async Task LeaveAsync(HttpContext context)
    {
        switch (RequestBodies.Kind(context, packed: true))
        {
            case BodyKind.Empty:
                await host.Presence.LeaveAsync(new[] { await host.Presence.FindAsync(callers.Require(context)) });
                break;
            case BodyKind.Packed:
                await callers.RequireBackendAsync(context, Scopes.Heartbeat);
                using (var packed = await RequestBodies.ReadPackedAsync(context))
                    await host.Presence.LeaveAsync(packed.Numbers);
                break;
            default:
                using (var users = new UserBatch())
                {
                    var device = (await ReadUsersAsync(context, users)).Device;
                    await callers.RequireAsync(context, users, Scopes.Heartbeat);
                    await host.Presence.FindAsync(users);
                    if (device is { } leaving)
                        await host.Presence.LeaveAsync(
                            users.Numbers.Span[0], leaving, host.Sockets.Sockets.Present(users.Numbers.Span[0], leaving));
                    else
                        await host.Presence.LeaveAsync(users.Numbers);
                }

                break;
        }

        await Answers.Ready(context, PresenceJson.Success);
    }

    private async ValueTask<UsersBodyFields> ReadUsersAsync(HttpContext context, UserBatch users)
    {
        using var body = await RequestBodies.ReadJsonAsync(context);
        var fields = UsersBody.Read(body.Written.Span, UsersForm.OneOrList, host.Presence.KnownKeys, users);
        gate.Charge(context, Cost.Users(users.Count));
        // without an authenticated caller, an empty object names nobody
        if (fields is { IsOfCaller: true, Active: false, Device: null } && callers.Of(context) is null)
            throw UsersBody.Expected(UsersForm.OneOrList);
        if (fields.IsOfCaller)
            users.TryAdd(Encoding.UTF8.GetBytes(callers.Require(context).ToString()), host.Presence.KnownKeys);
        return fields;
    }

    private async Task AcceptedAsync(HttpContext context, UserBatch users)
    {
        var accounts = host.Presence.Accounts;
        var disabled = new List<UserJson>();
        for (var i = 0; !accounts.IsNobodyDisabled && i < users.Count; i++)
        {
            if (accounts.IsDisabled(users.Numbers.Span[i]))
                disabled.Add(UserJson.Of(users, i));
        }

        if (disabled.Count == 0)
        {
            await Answers.Ready(context, _heartbeatAnswer);
            return;
        }

        var answer = new HeartbeatDocument("success", host.Options.HeartbeatSeconds, host.Options.LeaseSeconds, disabled);
        await Answers.Ready(context, JsonSerializer.SerializeToUtf8Bytes(answer, Documents.Sent.HeartbeatDocument));
    }

    private static async Task AcceptedAsync(HttpContext context, int accepted)
    {
        using var answer = new AnswerBuffer();
        answer.Add("{\"status\":\"success\",\"accepted\":"u8);
        answer.Advance(PresenceRecord.WriteNumber(answer.GetSpan(PresenceRecord.MaxNumberBytes), (uint)accepted));
        answer.Add((byte)'}');
        await Answers.Ready(context, answer.Written.Span);
    }

    private void Require(Admission admission, string user)
    {
        if (admission != Admission.Accepted)
            throw Problems.Of(admission, user, host.Options);
    }

    // Without a directory, keys have no index, so they cannot be users.
    private void RequireKnown(UserBatch users)
    {
        if (host.Presence.HasDirectory)
            return;
        for (var i = 0; i < users.Count; i++)
        {
            if (users.Numbers.Span[i] == UserId.Nobody && !users.Text(i).IsEmpty)
                throw new NotInThisDeploymentException(
                    "This deployment has no user directory, so user IDs are integers. Send integers from 0 to 2147483647.");
        }
    }
}
