using System.Text;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Aglow.Tests;

/// <summary>Answers to callers whose call failed.</summary>
public sealed class ProblemAnswersTests
{
    [Fact]
    public async Task What_a_deployment_does_not_have_is_a_501_that_says_so()
    {
        var (status, text, log) = await AnswerAsync(new NotInThisDeploymentException("No directory here."));
        status.ShouldBe(501);
        text.ShouldContain("No directory here.");
        log.ShouldBeEmpty();
        SocketRefusal.Of(new NotInThisDeploymentException("x"))!.Status.ShouldBe(501);
    }

    [Fact]
    public async Task A_call_that_the_framework_does_not_support_is_a_fault_in_the_log()
    {
        var (status, text, log) = await AnswerAsync(new NotSupportedException("Stream does not support writing."));
        status.ShouldBe(500);
        text.ShouldNotContain("Stream");
        log.Count.ShouldBe(1);
        SocketRefusal.Of(new NotSupportedException("x")).ShouldBeNull();
    }

    private static async Task<(int Status, string Text, List<string> Log)> AnswerAsync(Exception failure)
    {
        var log = new List<string>();
        using var logs = LoggerFactory.Create(builder => builder.AddProvider(new ListLogs(log)));
        var answers = new ProblemAnswers(logs, new LimitReports(NullLoggerFactory.Instance, TimeProvider.System));
        using var body = new MemoryStream();
        var context = new DefaultHttpContext();
        context.Response.Body = body;
        await answers.AnswerAsync(context, failure);
        await context.Response.BodyWriter.FlushAsync();
        return (context.Response.StatusCode, Encoding.UTF8.GetString(body.ToArray()), log);
    }

    private sealed class ListLogs(List<string> lines) : ILoggerProvider
    {
        public ILogger CreateLogger(string categoryName) => new ListLogger(lines);

        public void Dispose()
        {
        }
    }
}
