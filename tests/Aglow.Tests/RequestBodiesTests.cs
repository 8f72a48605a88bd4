using System.IO.Pipelines;
using System.Runtime.InteropServices;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Http;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Aglow.Tests;

/// <summary>Bodies that arrive in pieces, and the memory that they take.</summary>
public sealed class RequestBodiesTests
{
    private const int Requests = 100;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Memory_is_taken_for_what_came_and_not_for_what_was_announced(bool isPacked)
    {
        var reading = new Task[Requests];
        for (var i = 0; i < Requests; i++)
        {
            var (context, sent) = Request(announced: Limits.PackedBytes);
            await sent.Writer.WriteAsync(new byte[8]);
            var before = GC.GetAllocatedBytesForCurrentThread();
            reading[i] = isPacked ? RequestBodies.ReadPackedAsync(context).AsTask() : RequestBodies.ReadJsonAsync(context).AsTask();
            // the first requests allocate what all requests share
            if (i >= Requests / 2)
                (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(32 * 1024);
        }

        reading.ShouldAllBe(static one => !one.IsCompleted);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(100, 7)]
    [InlineData(5_000, 1000)]
    [InlineData(RequestBodies.ChunkUsers, 4096)]
    [InlineData(RequestBodies.ChunkUsers + 1, 4095)]
    [InlineData(200_000, 65_537)]
    public async Task Packed_numbers_are_read_whole_however_they_come(int users, int bytesAPiece)
    {
        var numbers = Enumerable.Range(0, users).Select(static i => (uint)i * 2_654_435_761).ToArray();
        // with an announced length, and without one, as in chunked bodies
        foreach (var announced in new long?[] { users * sizeof(uint), null })
        {
            var (context, sent) = Request(announced);
            var read = new List<uint>();
            var reading = RequestBodies.ReadPackedAsync(context, chunk =>
            {
                read.AddRange(chunk.Span);
                return default;
            }).AsTask();
            var bytes = MemoryMarshal.AsBytes(numbers.AsSpan()).ToArray();
            for (var at = 0; at < bytes.Length; at += bytesAPiece)
                await sent.Writer.WriteAsync(bytes.AsMemory(at, Math.Min(bytesAPiece, bytes.Length - at)));
            await sent.Writer.CompleteAsync();
            (await reading).ShouldBe(users);
            // IDs in a packed body are below 2^31: a higher word stands for nobody
            read.ShouldBe(numbers.Select(static number => number >= UserId.FirstDirectoryNumber ? UserId.Nobody : number));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_body_that_is_refused_while_it_arrives_can_be_read_on_so_that_its_connection_stays_open(bool isPacked)
    {
        var (context, sent) = Request(announced: 200_000);
        var person = Caller.Person(UserId.Of(7), issuedAt: null, DateTimeOffset.MaxValue.AddDays(-1));
        var holdings = new Holdings(mostStreams: 1);
        holdings.TryHold(person, Limits.HeldBytes).ShouldBeTrue();
        context.Features.Set(person);
        context.SetEndpoint(new Endpoint(null, new EndpointMetadataCollection(GateOf(holdings)), null));
        await sent.Writer.WriteAsync(new byte[200_000]);
        var refused = await Should.ThrowAsync<ProblemException>(
            () => isPacked ? RequestBodies.ReadPackedAsync(context).AsTask() : (Task)RequestBodies.ReadJsonAsync(context).AsTask());
        refused.Title.ShouldBe("Too much held");
        // as the web server does after the answer
        context.Request.BodyReader.TryRead(out _).ShouldBeFalse();
    }

    private static Gate GateOf(Holdings holdings)
    {
        var time = TimeProvider.System;
        var limits = new LimitReports(NullLoggerFactory.Instance, time);
        return new Gate(
            new Callers(static () => throw new NotSupportedException(), tokens: null, isOpen: true),
            new RateLimits(new AccessOptions(), time), holdings, new ProblemAnswers(NullLoggerFactory.Instance, limits), time);
    }

    private static (DefaultHttpContext Context, Pipe Sent) Request(long? announced)
    {
        var sent = new Pipe(new PipeOptions(pauseWriterThreshold: 0));
        var context = new DefaultHttpContext();
        context.Features.Set<IRequestBodyPipeFeature>(new Body(sent.Reader));
        context.Request.ContentLength = announced;
        return (context, sent);
    }

    private sealed record Body(PipeReader Reader) : IRequestBodyPipeFeature;
}
