using System.Net.Http.Json;
using System.Runtime.InteropServices;

namespace Aglow.Benchmarks;

/// <summary>Calls to servers on this machine by the framework's client, where the cost of a call is not measured.</summary>
internal static class Http
{
    /// <summary>The address of a port.</summary>
    public static Uri Local(int port) => new($"http://127.0.0.1:{port}");

    /// <summary>A client of the server on a port.</summary>
    public static HttpClient Client(int port) => new() { BaseAddress = Local(port) };

    /// <summary>Posts JSON, which must succeed.</summary>
    public static async Task PostAsync(HttpClient http, string path, object body) =>
        (await http.PostAsJsonAsync(path, body)).EnsureSuccessStatusCode().Dispose();

    /// <summary>Posts packed users.</summary>
    public static Task<HttpResponseMessage> PostPackedAsync(HttpClient http, string path, ReadOnlySpan<uint> users)
    {
        var body = new ByteArrayContent(MemoryMarshal.AsBytes(users).ToArray());
        body.Headers.ContentType = new("application/octet-stream");
        return http.PostAsync(new Uri(path, UriKind.Relative), body);
    }
}
