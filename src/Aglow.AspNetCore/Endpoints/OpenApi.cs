using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization.Metadata;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// <c>GET /openapi/v1.json</c>: describes every mapped <see cref="Call"/> and the shapes that it names. The first request creates the
/// document; only the server's address differs between callers, so each answer inserts it.
/// </summary>
/// <remarks>
/// Rejected alternative: the framework's generator, which was tried first. It describes handlers by their parameters, but these handlers
/// read bodies by hand. So it would need everything that a <see cref="Call"/> states a second time, in another form. The framework's
/// exporter turns shapes into schemas.
/// </remarks>
internal sealed class OpenApi(EndpointDataSource endpoints)
{
    private static readonly string Version = typeof(OpenApi).Assembly.GetName().Version?.ToString(3) ?? "0";

    // placeholder of the address in the document; no text of a call contains it
    private const string Address = "{address}";

    private const string TokenScheme = "token";

    private readonly Lazy<(byte[] Before, byte[] After)> _document = new(() => Describe(endpoints));

    public async Task HandleAsync(HttpContext context)
    {
        // the path of the calls, as this caller sees it
        var request = context.Request;
        var path = $"{request.PathBase.ToUriComponent()}{request.Path.ToUriComponent()}";
        var under = path[..path.LastIndexOf(Routes.OpenApi, StringComparison.OrdinalIgnoreCase)];
        var (before, after) = _document.Value;
        using var answer = new AnswerBuffer(before.Length + under.Length + after.Length);
        answer.Add(before);
        answer.Add(JsonEncodedText.Encode(under.Length > 0 ? under : "/").EncodedUtf8Bytes);
        answer.Add(after);
        await Answers.BytesAsync(context, Routes.Json, answer.Written);
    }

    private static (byte[] Before, byte[] After) Describe(EndpointDataSource endpoints)
    {
        var paths = new JsonObject();
        var schemas = new JsonObject();
        foreach (var endpoint in endpoints.Endpoints)
        {
            if (endpoint.Metadata.GetMetadata<Call>() is not { } call || call.Path == Routes.OpenApi)
                continue;
            if (paths[call.Path] is not JsonObject path)
                paths[call.Path] = path = [];
#pragma warning disable CA1308 // OpenAPI's names of methods are lower case
            path[call.Method.ToLowerInvariant()] = Describe(call, schemas);
#pragma warning restore CA1308
        }

        var document = new JsonObject
        {
            ["openapi"] = "3.1.1",
            ["info"] = new JsonObject
            {
                ["title"] = "Aglow",
                ["version"] = Version,
                ["description"] =
                    "Presence: given a user, are they online, and if not, when were they last seen? "
                    + "Times are seconds since 1970-01-01 UTC.",
            },
            ["servers"] = new JsonArray(new JsonObject { ["url"] = Address }),
            ["paths"] = paths,
            ["components"] = new JsonObject
            {
                ["schemas"] = schemas,
                ["securitySchemes"] = new JsonObject
                {
                    [TokenScheme] = new JsonObject
                    {
                        ["type"] = "http",
                        ["scheme"] = "bearer",
                        ["description"] = "The token of a person, or the key of a backend. A server in open mode needs neither.",
                    },
                },
            },
        };
        var json = document.ToJsonString();
        var at = json.IndexOf(Address, StringComparison.Ordinal);
        return (Encoding.UTF8.GetBytes(json[..at]), Encoding.UTF8.GetBytes(json[(at + Address.Length)..]));
    }

    private static JsonObject Describe(Call call, JsonObject schemas)
    {
        var operation = new JsonObject { ["operationId"] = call.Name.Replace(' ', '_'), ["summary"] = call.Summary };
        var parameters = new JsonArray();
        if (call.Path.Contains($"{{{Routes.UserParameter}}}", StringComparison.Ordinal))
            parameters.Add((JsonNode)Parameter(Routes.UserParameter, "path", "A user ID, percent-encoded.", "string", required: true));
        if (call.Path.Contains($"{{{Routes.WebhookParameter}}}", StringComparison.Ordinal))
            parameters.Add((JsonNode)Parameter(Routes.WebhookParameter, "path", "The id of a webhook.", "string", required: true));
        foreach (var query in call.Query)
            parameters.Add(
                (JsonNode)Parameter(query.Name, "query", query.Description, query.IsNumber ? "integer" : "string", query.Required));
        if (parameters.Count > 0)
            operation["parameters"] = parameters;
        if (call.Bodies.Count > 0)
            operation["requestBody"] = new JsonObject { ["required"] = !call.BodyIsOptional, ["content"] = Contents(call.Bodies, schemas) };

        var responses = new JsonObject();
        foreach (var answers in call.Answers.GroupBy(static a => a.Status))
        {
            var response = new JsonObject { ["description"] = call.Summary };
            if (answers.Any(static a => a.ContentType is not null))
                response["content"] = Contents(answers, schemas);
            responses[Key(answers.Key)] = response;
        }

        foreach (var status in ProblemsOf(call))
        {
            responses[Key(status)] = new JsonObject
            {
                ["description"] = "A problem: its detail says what to do instead.",
                ["content"] = Contents([new Content(Routes.ProblemJson, typeof(ProblemDocument))], schemas),
            };
        }

        operation["responses"] = responses;
        if (call.Access.Scope != Scopes.None)
            operation["security"] = new JsonArray(new JsonObject { [TokenScheme] = new JsonArray() });
        return operation;
    }

    // The problems that a call names, and those that every call of its kind may answer with: from the gate, and for a wrong body.
    private static SortedSet<int> ProblemsOf(Call call)
    {
        SortedSet<int> all = [.. call.Problems, 400, 414, 500];
        if (call.Cost > 0)
            all.Add(429);
        if (call.Access.Scope != Scopes.None)
            all.UnionWith([401, 403, 503]);
        // a call that takes no body refuses one in the same ways
        if (call.Method != HttpMethods.Get)
            all.UnionWith([408, 413, 415]);
        return all;
    }

    private static string Key(int status) => status.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private static JsonObject Parameter(string name, string place, string description, string type, bool required) => new()
    {
        ["name"] = name,
        ["in"] = place,
        ["required"] = required,
        ["description"] = description,
        ["schema"] = new JsonObject { ["type"] = type },
    };

    private static JsonObject Contents(IEnumerable<Content> contents, JsonObject schemas)
    {
        var all = new JsonObject();
        foreach (var ofType in contents.GroupBy(static content => content.ContentType!))
        {
            List<JsonObject> shapes = [.. ofType.Select(content => Schema(content.Shape, schemas))];
            all[ofType.Key] = new JsonObject
            {
                ["schema"] = shapes is [var only] ? only : new JsonObject { ["oneOf"] = new JsonArray([.. shapes]) },
            };
        }

        return all;
    }

    private static JsonObject Schema(Type? shape, JsonObject schemas)
    {
        if (shape is null)
            return new JsonObject { ["type"] = "string", ["format"] = "binary" };
        var name = shape.IsGenericType
            ? $"{shape.GetGenericArguments()[^1].Name}{(shape.GetGenericArguments().Length > 1 ? "ById" : "List")}"
            : shape.Name;
        if (!schemas.ContainsKey(name))
        {
            schemas[name] = Documents.Default.GetTypeInfo(shape)!.GetJsonSchemaAsNode(new JsonSchemaExporterOptions
            {
                TreatNullObliviousAsNonNullable = true,
                TransformSchemaNode = static (context, schema) => Complete(context.TypeInfo, schema),
            });
        }

        return new JsonObject { ["$ref"] = $"#/components/schemas/{name}" };
    }

    // Adds what the exporter does not say: which values a user ID may have, which members answers leave out, and that a body may leave out
    // members that may be null.
    private static JsonNode Complete(JsonTypeInfo info, JsonNode schema)
    {
        var type = info.Type;
        if (type == typeof(UserJson) || type == typeof(UserJson?))
            return User();
        if (type == typeof(IReadOnlyList<UserJson>))
            schema["items"] = User();
        if (schema["required"] is JsonArray required)
        {
            var properties = schema["properties"]!.AsObject();
            var isBody = type.Name.EndsWith("Body", StringComparison.Ordinal);
            // these have a condition for being written
            HashSet<string> leftOut = [.. info.Properties.Where(static p => p.ShouldSerialize is not null).Select(static p => p.Name)];
            schema["required"] = new JsonArray([.. required
                .Where(name => !leftOut.Contains(name!.GetValue<string>())
                    && !(isBody && IsOptional(type, name.GetValue<string>(), properties)))
                .Select(static name => name!.DeepClone())]);
        }

        return schema;
    }

    // the schema of a user ID does not say that it may be null, so two bodies are named here
    private static bool IsOptional(Type body, string member, JsonObject properties) =>
        properties[member]?["type"] is JsonArray
        || body == typeof(HeartbeatBody)
        || (body == typeof(NewUserBody) && member == JsonNames.UserId);

    private static JsonObject User() => new()
    {
        ["description"] = "A user ID: an integer, or a string of 1 to 255 bytes of UTF-8. The string of an integer is that integer.",
        ["oneOf"] = new JsonArray(
            new JsonObject { ["type"] = "integer", ["minimum"] = 0, ["maximum"] = long.MaxValue },
            new JsonObject { ["type"] = "string", ["minLength"] = 1 }),
    };
}
