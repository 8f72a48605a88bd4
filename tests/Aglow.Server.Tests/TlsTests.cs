using System.Net;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace Aglow.Server.Tests;

/// <summary>TLS as Kestrel is configured for it, with a certificate that the test makes.</summary>
public class TlsTests
{
    [Fact]
    public async Task Calls_and_sockets_go_over_tls_with_the_certificate_of_a_settings_file()
    {
        var folder = AglowProcess.NewFolder();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var made = new CertificateRequest("CN=aglow.example", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var path = Path.Combine(folder, "aglow.pfx");
        await File.WriteAllBytesAsync(path, made.Export(X509ContentType.Pfx, "secret"));
        await File.WriteAllTextAsync(
            Path.Combine(folder, "appsettings.json"), JsonSerializer.Serialize(
                new { Kestrel = new { Certificates = new { Default = new { Path = path, Password = "secret" } } } }));
        await using var server = AglowProcess.Run(
            Path.Combine(folder, "data"), ["--settings", Path.Combine(folder, "appsettings.json")], urls: "https://127.0.0.1:0");
        await server.ReadyAsync();

        bool IsOurs(X509Certificate? shown) => shown?.GetCertHashString() == made.GetCertHashString();
        using var http = new HttpClient(new HttpClientHandler { ServerCertificateCustomValidationCallback = (_, shown, _, _) => IsOurs(shown) }) { BaseAddress = server.Address };
        using var request = new HttpRequestMessage(HttpMethod.Post, "/heartbeat")
        {
            Content = new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json"),
        };
        request.Headers.Host = "aglow.example";
        using var answer = await http.SendAsync(request);
        ((int)answer.StatusCode).ShouldBe(200);
        answer.Headers.GetValues("Strict-Transport-Security").Single().ShouldBe("max-age=31536000");

        // the same over HTTP/2, where a body is timed and a large answer sent in ways of their own
        using var heartbeat = await http.SendAsync(
            OverHttp2("/heartbeat", new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json")));
        (heartbeat.Version, (int)heartbeat.StatusCode).ShouldBe((HttpVersion.Version20, 200));
        using var batch = await http.SendAsync(
            OverHttp2(
                "/status/batch",
                new StringContent(
                    $"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 10_000))}]}}", Encoding.UTF8, "application/json")));
        JsonDocument.Parse(await batch.Content.ReadAsStringAsync()).RootElement.GetArrayLength().ShouldBe(10_000);
        // Kestrel closes the connection that is too slow, and the next call opens another
        await Should.ThrowAsync<HttpRequestException>(
            () => http.SendAsync(OverHttp2("/heartbeat", new NeverEnding()), HttpCompletionOption.ResponseHeadersRead));
        using var afterwards = await http.SendAsync(
            OverHttp2("/heartbeat", new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json")));
        ((int)afterwards.StatusCode).ShouldBe(200);

        using var socket = new ClientWebSocket();
        socket.Options.RemoteCertificateValidationCallback = (_, shown, _, _) => IsOurs(shown);
        await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{server.Address.Port}/ws?user_id=2"), CancellationToken.None);
        var buffer = new byte[1024];
        var welcome = await socket.ReceiveAsync(buffer, CancellationToken.None);
        Encoding.UTF8.GetString(buffer, 0, welcome.Count).ShouldContain("\"type\":\"welcome\"");

        // who does not trust it does not get in, and plain HTTP is no way in
        using var careful = new HttpClient();
        await Should.ThrowAsync<HttpRequestException>(() => careful.GetAsync(new Uri(server.Address, "/health/live")));
        await Should.ThrowAsync<HttpRequestException>(() => careful.GetAsync($"http://127.0.0.1:{server.Address.Port}/health/live"));
        Directory.Delete(folder, recursive: true);
    }

    private static HttpRequestMessage OverHttp2(string path, HttpContent content) =>
        new(HttpMethod.Post, path)
        {
            Content = content,
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact
        };

    // JSON that begins, and does not go on until its sender gives up
    private sealed class NeverEnding : HttpContent
    {
        public NeverEnding() => Headers.ContentType = new("application/json");

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            await stream.WriteAsync("{\"user"u8.ToArray(), cancellationToken);
            await stream.FlushAsync(cancellationToken);
            await Task.Delay(TimeSpan.FromMinutes(1), cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }

    [Fact]
    public async Task An_endpoint_of_a_settings_file_is_no_way_around_the_rule_for_open_mode()
    {
        var folder = AglowProcess.NewFolder();
        await File.WriteAllTextAsync(Path.Combine(folder, "appsettings.json"), """{"Kestrel":{"Endpoints":{"All":{"Url":"http://0.0.0.0:0"}}}}""");
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--settings", Path.Combine(folder, "appsettings.json")]);
        code.ShouldBe(2);
        errors.ShouldContain("set --auth token");
        Directory.Delete(folder, recursive: true);
    }
}
