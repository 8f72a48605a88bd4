using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;

namespace Aglow.Server.Tests;

/// <summary>TLS in Kestrel's configuration, with a certificate that the test creates.</summary>
public partial class TlsTests
{
    [Fact]
    public async Task Calls_and_sockets_go_over_tls_with_the_certificate_of_a_settings_file()
    {
        var folder = AglowProcess.NewFolder();
        using var made = NewCertificate();
        await using var server = await StartAsync(folder, made);

        bool IsOurs(X509Certificate? shown) => IsOf(made, shown);
        using var http = new HttpClient(new HttpClientHandler
        {
            ServerCertificateCustomValidationCallback = (_, shown, _, _) => IsOurs(shown),
        })
        {
            BaseAddress = server.Address,
        };
        using var request = new HttpRequestMessage(HttpMethod.Post, "/heartbeat")
        {
            Content = new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json"),
        };
        request.Headers.Host = "aglow.example";
        using var answer = await http.SendAsync(request);
        ((int)answer.StatusCode).ShouldBe(200);
        answer.Headers.GetValues("Strict-Transport-Security").Single().ShouldBe("max-age=31536000");

        // the same over HTTP/2, which times bodies and sends large answers in its own way
        using var heartbeat = await http.SendAsync(
            OverHttp2("/heartbeat", new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json")));
        (heartbeat.Version, (int)heartbeat.StatusCode).ShouldBe((HttpVersion.Version20, 200));
        using var batch = await http.SendAsync(
            OverHttp2(
                "/status/batch",
                new StringContent(
                    $"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 10_000))}]}}", Encoding.UTF8, "application/json")));
        JsonDocument.Parse(await batch.Content.ReadAsStringAsync()).RootElement.GetArrayLength().ShouldBe(10_000);
        // Kestrel closes the slow connection, and the next call opens another. The client reports the close, or that its body was cut off.
        var closed = await Should.ThrowAsync<Exception>(
            () => http.SendAsync(OverHttp2("/heartbeat", new NeverEnding()), HttpCompletionOption.ResponseHeadersRead));
        (closed is HttpRequestException || closed is OperationCanceledException { InnerException: not TimeoutException })
            .ShouldBeTrue(closed.ToString());
        using var afterwards = await http.SendAsync(
            OverHttp2("/heartbeat", new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json")));
        ((int)afterwards.StatusCode).ShouldBe(200);

        using var socket = new ClientWebSocket();
        socket.Options.RemoteCertificateValidationCallback = (_, shown, _, _) => IsOurs(shown);
        await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{server.Address.Port}/ws?user_id=2"), CancellationToken.None);
        var buffer = new byte[1024];
        var welcome = await socket.ReceiveAsync(buffer, CancellationToken.None);
        Encoding.UTF8.GetString(buffer, 0, welcome.Count).ShouldContain("\"type\":\"welcome\"");

        // a client that does not trust the certificate cannot connect, and plain HTTP does not work
        using var careful = new HttpClient();
        await Should.ThrowAsync<HttpRequestException>(() => careful.GetAsync(new Uri(server.Address, "/health/live")));
        await Should.ThrowAsync<HttpRequestException>(() => careful.GetAsync($"http://127.0.0.1:{server.Address.Port}/health/live"));
        // it may still make a file
        await server.KillAsync();
        Directory.Delete(folder, recursive: true);
    }

    private static bool IsOf(X509Certificate2 made, X509Certificate? shown) => shown?.GetCertHashString() == made.GetCertHashString();

    private static X509Certificate2 NewCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return new CertificateRequest("CN=aglow.example", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }

    [Theory]
    [InlineData("{}", "")]
    [InlineData("{\"Kestrel\":{\"Certificates\":{\"Default\":{\"Path\":\"/nowhere/cert.pem\"}}}}", "/nowhere/cert.pem")]
    [InlineData("{\"Kestrel\":{\"Certificates\":{\"Default\":{\"Path\":\"SETTINGS\",\"KeyPath\":\"SETTINGS\"}}}}", "")]
    public async Task Https_without_a_certificate_that_can_be_used_stops_the_start_with_one_line(string settings, string named)
    {
        var folder = AglowProcess.NewFolder();
        var file = Path.Combine(folder, "settings.json");
        await File.WriteAllTextAsync(file, settings.Replace("SETTINGS", file));
        // a developer's home may have a certificate of .NET
        var (code, _, errors) = await AglowProcess.RunToEndAsync(
            ["serve", "--urls", "https://127.0.0.1:0", "--data", Path.Combine(folder, "data"), "--settings", file],
            new() { ["HOME"] = folder, ["DOTNET_CLI_HOME"] = folder });
        code.ShouldBe(2);
        errors.ShouldStartWith("aglow: https has no certificate that can be used (");
        errors.ShouldContain(named);
        errors.ShouldContain("\"KeyPath\"");
        errors.TrimEnd().ShouldEndWith("name that file with --settings.");
        errors.TrimEnd().ShouldNotContain("\n");
        Directory.Delete(folder, recursive: true);
    }

    private static async Task<AglowProcess> StartAsync(string folder, X509Certificate2 certificate, params string[] flags)
    {
        var path = Path.Combine(folder, "aglow.pfx");
        var settings = Path.Combine(folder, "appsettings.json");
        await File.WriteAllBytesAsync(path, certificate.Export(X509ContentType.Pfx, "secret"));
        await File.WriteAllTextAsync(
            settings, JsonSerializer.Serialize(
                new { Kestrel = new { Certificates = new { Default = new { Path = path, Password = "secret" } } } }));
        var server = AglowProcess.Run(Path.Combine(folder, "data"), ["--settings", settings, .. flags], urls: "https://127.0.0.1:0");
        await server.ReadyAsync();
        return server;
    }

    [GeneratedRegex(@"Content-Length: (?<n>\d+)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Length();

    private static HttpRequestMessage OverHttp2(string path, HttpContent content) =>
        new(HttpMethod.Post, path)
        {
            Content = content,
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact
        };

    // JSON that begins and never continues, until its sender stops
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
    public async Task A_proxy_names_its_client_before_the_tls_that_it_passes_on()
    {
        var folder = AglowProcess.NewFolder();
        using var made = NewCertificate();
        await using var server = await StartAsync(
            folder, made, "--trusted-proxies", "127.0.0.1", "--proxy-protocol", "--rate-limit-address", "2");
        var flooder = IPAddress.Parse("203.0.113.1");
        // paid off in 50 s: after a cheap call, a slow machine would find the limit lifted
        var users = $"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 10_000))}]}}";
        var expensive =
            "POST /status/batch HTTP/1.1\r\nHost: aglow.example\r\nContent-Type: application/json\r\n"
                + $"Content-Length: {users.Length}\r\n\r\n{users}";
        await using (var flood = await BehindProxyAsync(flooder))
        {
            var statuses = new List<string>();
            while (statuses.Count < 50 && !statuses.Contains("429"))
                statuses.Add(await StatusAsync(flood, expensive));
            statuses.ShouldContain("429");
        }

        // sockets also count for the client that the proxy names
        foreach (var (client, status) in new[] { (flooder, "429"), (IPAddress.Parse("203.0.113.2"), "101") })
        {
            await using var socket = await BehindProxyAsync(client);
            (await StatusAsync(socket, RawSocket.Handshake("/ws?user_id=1"))).ShouldBe(status);
        }

        // a connection without the header gets no answer
        using var bare = new TcpClient();
        await bare.ConnectAsync(IPAddress.Loopback, server.Address.Port);
        await using var tls = new SslStream(bare.GetStream(), leaveInnerStreamOpen: false, (_, shown, _, _) => IsOf(made, shown));
        await Should.ThrowAsync<IOException>(() => tls.AuthenticateAsClientAsync("aglow.example"));
        // it may still make a file
        await server.KillAsync();
        Directory.Delete(folder, recursive: true);

        async Task<SslStream> BehindProxyAsync(IPAddress client)
        {
            var tcp = new TcpClient();
            await tcp.ConnectAsync(IPAddress.Loopback, server.Address.Port);
            await tcp.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"PROXY TCP4 {client} 10.0.0.5 51234 443\r\n"));
            var stream = new SslStream(tcp.GetStream(), leaveInnerStreamOpen: false, (_, shown, _, _) => IsOf(made, shown));
            await stream.AuthenticateAsClientAsync("aglow.example");
            return stream;
        }

        static async Task<string> StatusAsync(SslStream stream, string request)
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes(request));
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90));
            var buffer = new byte[16 * 1024];
            var answer = "";
            while (!IsWhole(answer))
            {
                var read = await stream.ReadAsync(buffer, limit.Token);
                read.ShouldBeGreaterThan(0, answer);
                answer += Encoding.ASCII.GetString(buffer, 0, read);
            }

            return answer.Split(' ')[1];
        }

        static bool IsWhole(string answer)
        {
            var end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            var length = Length().Match(answer);
            return end > 0 && (!length.Success || answer.Length - end - 4 >= int.Parse(length.Groups["n"].Value));
        }
    }

    [Fact]
    public async Task An_endpoint_of_a_settings_file_is_no_way_around_the_rule_for_open_mode()
    {
        var folder = AglowProcess.NewFolder();
        await File.WriteAllTextAsync(
            Path.Combine(folder, "appsettings.json"), """{"Kestrel":{"Endpoints":{"All":{"Url":"http://0.0.0.0:0"}}}}""");
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--settings", Path.Combine(folder, "appsettings.json")]);
        code.ShouldBe(2);
        errors.ShouldContain("set --auth token");
        Directory.Delete(folder, recursive: true);
    }
}
