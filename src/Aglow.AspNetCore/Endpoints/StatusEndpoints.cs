using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Changes;
using Aglow.Users;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>Statuses of users: <c>GET /status/…</c>, <c>POST /status/batch</c>. Reading a status registers no user.</summary>
internal sealed class StatusEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        new Call(HttpMethods.Get, Routes.Status, "status", "A user's status", StatusAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            Query = [QueryParameter.Definition, QueryParameter.Viewer],
            Answers = [new(Routes.Json, typeof(PresenceDocument))],
        },
        new Call(HttpMethods.Get, Routes.StatusOfUsers, "statuses by id", "Statuses of up to 1,000 users, by id", StatusesByIdAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            TargetBytes = Limits.ListTargetBytes,
            Query = [new(Routes.IdsQuery, "Users, separated by commas, each percent-encoded.", Required: true),
                QueryParameter.Definition, QueryParameter.Viewer],
            Answers = [new(Routes.Json, typeof(IReadOnlyDictionary<string, PresenceDocument>))],
            Problems = [413],
        },
        new Call(HttpMethods.Post, Routes.StatusBatch, "statuses", "Statuses of many users, in their order", BatchAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            Query = [QueryParameter.Definition, QueryParameter.Viewer],
            Bodies = [new(Routes.Json, typeof(IReadOnlyList<UserIdBody>)), new(Routes.Packed)],
            Answers = [new(Routes.Json, typeof(IReadOnlyList<PresenceDocument>)), new(Routes.Packed)],
        },
        new Call(HttpMethods.Get, Routes.Explain, "explanation", "Why a user is shown as they are", ExplainAsync)
        {
            Access = CallAccess.Backends(Scopes.Operate),
            Query = [QueryParameter.Definition],
            Answers = [new(Routes.Json, typeof(ExplanationDocument))],
        },
        new Call(HttpMethods.Get, Routes.StatusOfOne, "status of any ID",
            "The status of a user, also of one whose ID cannot stand in a path", StatusAsync)
        {
            Access = CallAccess.People(Scopes.Read),
            Query = [QueryParameter.User with { Required = true }, QueryParameter.Definition, QueryParameter.Viewer],
            Answers = [new(Routes.Json, typeof(PresenceDocument))],
        });

    private async Task StatusAsync(HttpContext context)
    {
        var user = RequestParameters.User(context);
        var definition = RequestParameters.Definition(context, host.Presence.Definitions);
        var number = await host.Presence.FindRequestedAsync(user);
        var status = await (await callers.ViewAsync(context)).StatusAsync(number, definition);
        using var answer = new AnswerBuffer(512);
        PresenceJson.WriteRecord(answer, number, user.Key is { } key ? Encoding.UTF8.GetBytes(key) : default, status);
        await Answers.JsonAsync(context, answer.Written);
    }

    private async Task StatusesByIdAsync(HttpContext context)
    {
        var ids = RequestParameters.Ids(context);
        var definition = RequestParameters.Definition(context, host.Presence.Definitions);
        using var users = new UserBatch(ids.Count);
        DirectoryUsers.AddNamed(users, ids, "ids", host.Presence.RequestedKeys);
        using var statuses = await ReadAsync(context, users, definition);
        using var answer = new AnswerBuffer(ids.Count * 128);
        WriteById(answer, ids, users, statuses.Span);
        await Answers.JsonAsync(context, answer.Written);
    }

    private async Task BatchAsync(HttpContext context)
    {
        var definition = RequestParameters.Definition(context, host.Presence.Definitions);
        switch (RequestBodies.Kind(context, packed: true))
        {
            case BodyKind.Packed:
                await PackedBatchAsync(context, definition);
                break;
            case BodyKind.Json:
                await JsonBatchAsync(context, definition);
                break;
            default:
                throw Problems.Malformed("The body is empty. Send [{\"user_id\": X}, …], {\"user_ids\": [X, …]}, or packed numbers.");
        }
    }

    private async Task JsonBatchAsync(HttpContext context, Definition definition)
    {
        using var answer = new AnswerBuffer();
        await AnswerBatchAsync(context, definition, answer);
        await Answers.JsonAsync(context, answer.Written);
    }

    // Releases the buffers of the request on return, so that only the answer stays in memory while the client reads it.
    private async ValueTask AnswerBatchAsync(HttpContext context, Definition definition, AnswerBuffer answer)
    {
        using var users = new UserBatch(1024);
        using (var body = await RequestBodies.ReadJsonAsync(context))
            UsersBody.Read(body.Written.Span, UsersForm.ListOfObjectsOrList, host.Presence.RequestedKeys, users);
        using var statuses = await ReadAsync(context, users, definition);
        answer.Reserve((users.Count * 88) + 64);
        PresenceJson.WriteRecords(answer, users, statuses.Span);
    }

    // The answer has the length of the body and is written into the same buffer. It is sent after the whole body has arrived, because most
    // clients read the answer only after they have sent all.
    private async Task PackedBatchAsync(HttpContext context, Definition definition)
    {
        var view = await callers.ViewAsync(context);
        using var users = await RequestBodies.ReadPackedAsync(context);
        var numbers = users.Numbers;
        for (var start = 0; start < numbers.Length; start += RequestBodies.ChunkUsers)
        {
            var chunk = numbers.Slice(start, Math.Min(RequestBodies.ChunkUsers, numbers.Length - start));
            await view.ReadPackedAsync(chunk, definition, chunk);
        }

        if (!BitConverter.IsLittleEndian)
            System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(numbers.Span, numbers.Span);
        using var bytes = new PackedAnswer(numbers);
        await Answers.BytesAsync(context, Routes.Packed, bytes.Memory);
    }

    private async Task ExplainAsync(HttpContext context)
    {
        var user = RequestParameters.User(context, fromEnd: 1);
        await callers.RequireBackendAsync(context, Scopes.Operate);
        var definition = RequestParameters.Definition(context, host.Presence.Definitions);
        var why = await host.Presence.ExplainAsync(await host.Presence.FindRequestedAsync(user), definition);
        var document = new ExplanationDocument(
            UserJson.Of(user),
            why.Presence.IsOnline,
            ChangeWords.Of(why.Presence.Status),
            Pulse.ToUnix(why.Presence.LastSeen),
            why.Reason,
            new DefinitionDocument(definition.Name, definition.PulseSeconds, definition.ActivitySeconds, definition.EndedByLeave),
            host.Options.LeaseSeconds,
            why.LastHeartbeatAt,
            why.LastHeartbeatAgeSeconds,
            why.HasLeft,
            why.LastActivityAt,
            Claim.NameOf(why.Claim.Status),
            why.Claim.Claim?.Source,
            why.Presence.Details?.Text,
            why.Presence.Details?.Emoji,
            Pulse.ToUnix(why.Presence.Details?.Until ?? 0),
            why.BelievedOnline,
            why.StallGuardInForce,
            why.CountedAgainst,
            why.Now,
            why.Node,
            why.Store);
        await Answers.JsonAsync(context, document, Documents.Sent.ExplanationDocument);
    }

    private async ValueTask<StatusBatch> ReadAsync(HttpContext context, UserBatch users, Definition definition)
    {
        gate.Charge(context, Cost.Users(users.Count));
        var view = await callers.ViewAsync(context);
        await host.Presence.FindRequestedAsync(users);
        var statuses = new StatusBatch(users.Count);
        try
        {
            await view.ReadAsync(users.Numbers, definition, statuses.Memory);
            return statuses;
        }
        catch
        {
            statuses.Dispose();
            throw;
        }
    }

    // The members of the answer are the ids as given; a repeated id is written once.
    private static void WriteById(AnswerBuffer answer, List<string> ids, UserBatch users, ReadOnlySpan<Presence> statuses)
    {
        var seen = new HashSet<string>(ids.Count, StringComparer.Ordinal);
        answer.Add((byte)'{');
        for (var i = 0; i < ids.Count; i++)
        {
            if (!seen.Add(ids[i]))
                continue;
            if (seen.Count > 1)
                answer.Add((byte)',');
            var id = Encoding.UTF8.GetBytes(ids[i]);
            answer.Advance(PresenceRecord.WriteKey(answer.GetSpan((id.Length * 2) + 2), id));
            answer.Add((byte)':');
            PresenceJson.WriteRecord(answer, users, i, statuses[i]);
        }

        answer.Add((byte)'}');
    }

    /// <summary>Statuses in an array that is rented from the pool.</summary>
    private readonly struct StatusBatch(int count) : IDisposable
    {
        private readonly Presence[] _statuses = ArrayPool<Presence>.Shared.Rent(Math.Max(count, 1));

        public Memory<Presence> Memory => _statuses.AsMemory(0, count);

        public ReadOnlySpan<Presence> Span => Memory.Span;

        public void Dispose() => ArrayPool<Presence>.Shared.Return(_statuses);
    }

    /// <summary>Presents numbers as their bytes in memory, without a copy.</summary>
    private sealed class PackedAnswer(Memory<uint> numbers) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => MemoryMarshal.AsBytes(numbers.Span);

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException("Copied, never pinned.");

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
