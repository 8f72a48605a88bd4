using System.Net;
using System.Net.Sockets;
using Aglow.Changes.Webhooks;

namespace Aglow.Tests;

/// <summary>A webhook's connection goes to the address that was checked, even if the name resolves to another address next time.</summary>
public class WebhookTargetsTests
{
    private static readonly IPAddress Private = IPAddress.Parse("10.0.0.1");

    [Fact]
    public async Task A_connection_goes_to_the_very_address_that_was_checked_and_a_name_that_moves_gains_nothing()
    {
        using var receiver = new TcpListener(IPAddress.Loopback, 0);
        receiver.Start();
        var asked = 0;
        var answers = new Queue<IPAddress[]>([[Private, IPAddress.Loopback], [Private], []]);
        var targets = new WebhookTargets([], toLoopback: true, (host, _) =>
        {
            asked++;
            host.ShouldBe("receiver.example");
            return Task.FromResult(answers.Dequeue());
        });
        using var http = new HttpClient(new SocketsHttpHandler { ConnectCallback = targets.ConnectAsync, UseProxy = false });
        var url = new Uri($"http://receiver.example:{((IPEndPoint)receiver.LocalEndpoint).Port}/");
        targets.Refusal("https://receiver.example/", out _).ShouldBeNull();

        // no name server knows this name, so the connection can only go to the address that was checked, and not to the private one
        var sent = http.GetAsync(url);
        using (var connection = await receiver.AcceptTcpClientAsync())
        {
            ((IPEndPoint)connection.Client.LocalEndPoint!).Address.ShouldBe(IPAddress.Loopback);
            await connection.GetStream().WriteAsync("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"u8.ToArray());
            (await sent).StatusCode.ShouldBe(HttpStatusCode.NoContent);
        }

        asked.ShouldBe(1);
        // the next connection resolves the name again, which now has another address
        (await Should.ThrowAsync<HttpRequestException>(() => http.GetAsync(url))).ToString()
            .ShouldContain("AglowOptions.WebhooksAllow (--webhooks-allow)");
        (await Should.ThrowAsync<HttpRequestException>(() => http.GetAsync(url))).ToString().ShouldContain("no address");
        asked.ShouldBe(3);
    }
}
