using System.IO.Pipelines;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Http;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Aglow.Tests;

/// <summary>Bodies that come slowly, with a clock that moves when it is told to.</summary>
public sealed class BodyTimeoutsTests : IDisposable
{
    private static readonly TimeSpan ALittle = TimeSpan.FromMilliseconds(200);

    private readonly ManualTimeProvider _time = new();
    private readonly BodyTimeouts _timeouts;
    private readonly Pipe _sent = new();
    private readonly DefaultHttpContext _context = new();
    private readonly WebServersRate _rate = new();

    public BodyTimeoutsTests()
    {
        _timeouts = new BodyTimeouts(_time);
        _context.Request.Protocol = HttpProtocol.Http11;
        _context.Features.Set<IRequestBodyPipeFeature>(new Body(_sent.Reader));
        _context.Features.Set<IHttpMinRequestBodyDataRateFeature>(_rate);
    }

    public void Dispose() => _timeouts.Dispose();

    [Fact]
    public async Task A_body_that_does_not_come_is_given_up_after_five_seconds_and_its_connection_closed()
    {
        using var reader = new RequestBodyReader(_context, _timeouts);
        await SendAsync(10);
        reader.AdvanceTo((await reader.ReadAsync()).Buffer.End);
        var reading = reader.ReadAsync().AsTask();
        _time.Advance(BodyTimeouts.Grace - ALittle);
        reading.IsCompleted.ShouldBeFalse();
        _time.Advance(ALittle * 2);
        (await Should.ThrowAsync<ProblemException>(reading)).Status.ShouldBe(StatusCodes.Status408RequestTimeout);
        _context.Response.Headers.Connection.ToString().ShouldBe("close");
    }

    [Fact]
    public async Task A_byte_a_second_buys_no_time()
    {
        using var reader = new RequestBodyReader(_context, _timeouts);
        var refused = Should.ThrowAsync<ProblemException>(async () =>
        {
            while (true)
                reader.AdvanceTo((await reader.ReadAsync()).Buffer.End);
        });
        for (var second = 0; second < 5; second++)
        {
            refused.IsCompleted.ShouldBeFalse();
            await SendAsync(1);
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        _time.Advance(ALittle);
        (await refused).Status.ShouldBe(StatusCodes.Status408RequestTimeout);
    }

    [Fact]
    public void Who_keeps_to_the_least_rate_may_take_as_long_as_they_like_until_they_do_not()
    {
        var wait = _timeouts.Begin(_sent.Reader);
        for (var second = 0; second < 60; second++)
        {
            wait.Received += BodyTimeouts.BytesPerSecond + 10;
            _time.Advance(TimeSpan.FromSeconds(1));
            wait.IsOver.ShouldBeFalse();
        }

        // ten bytes a second more than it must is good for two and a half seconds in a minute, and it is looked at every five
        _time.Advance(BodyTimeouts.Grace * 2);
        wait.IsTooLong.ShouldBeTrue();
        _timeouts.Count.ShouldBe(0);
    }

    [Fact]
    public async Task A_body_that_is_whole_is_not_waited_for_and_no_later_read_is_cancelled()
    {
        using (var reader = new RequestBodyReader(_context, _timeouts))
        {
            var reading = reader.ReadAsync();
            reading.IsCompleted.ShouldBeFalse();
            await SendAsync(10);
            reader.AdvanceTo((await reading).Buffer.End);
        }

        _time.Advance(BodyTimeouts.Grace * 2);
        _timeouts.Count.ShouldBe(0);
        await SendAsync(10);
        (await _sent.Reader.ReadAsync()).IsCanceled.ShouldBeFalse();
    }

    [Fact]
    public async Task A_body_that_came_with_its_head_waits_for_nobody()
    {
        await SendAsync(10);
        await _sent.Writer.CompleteAsync();
        using var reader = new RequestBodyReader(_context, _timeouts);
        (await reader.ReadAsync()).IsCompleted.ShouldBeTrue();
        _timeouts.Count.ShouldBe(0);
    }

    [Fact]
    public void The_web_server_is_told_not_to_time_it()
    {
        _rate.MinDataRate.ShouldNotBeNull();
        new RequestBodyReader(_context, _timeouts).Dispose();
        _rate.MinDataRate.ShouldBeNull();
    }

    private async Task SendAsync(int bytes) => await _sent.Writer.WriteAsync(new byte[bytes]);

    private sealed record Body(PipeReader Reader) : IRequestBodyPipeFeature;

    private sealed class WebServersRate : IHttpMinRequestBodyDataRateFeature
    {
        public Microsoft.AspNetCore.Server.Kestrel.Core.MinDataRate? MinDataRate { get; set; } = new(240, TimeSpan.FromSeconds(5));
    }
}
