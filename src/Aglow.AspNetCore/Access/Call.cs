namespace Aglow.AspNetCore.Access;

/// <summary>One call of the API: its method and path, its handler, and its description.</summary>
internal sealed record Call(string Method, string Path, string Name, string Summary, RequestDelegate Handle)
{
    /// <summary>Who may make it, if the server takes tokens or the application authenticates.</summary>
    public required CallAccess Access { get; init; }

    /// <summary>Whether the token may be in the URL, because a browser cannot set headers on a socket or a stream.</summary>
    public bool TakesTokenInUrl { get; init; }

    /// <summary>Whether its handler answers all failures itself; otherwise they become problem documents.</summary>
    public bool AnswersFailures { get; init; }

    /// <summary>Answers a refusal of this call; null: the answer is a problem document.</summary>
    public Func<HttpContext, Exception, Task>? Refuse { get; init; }

    public int Cost { get; init; } = Aglow.AspNetCore.Access.Cost.Call;

    /// <summary>How many bytes its path and query may have, as they were sent.</summary>
    public int TargetBytes { get; init; } = Limits.TargetBytes;

    public IReadOnlyList<QueryParameter> Query { get; init; } = [];

    /// <summary>The bodies that it accepts: content type and shape (none: packed bytes).</summary>
    public IReadOnlyList<Content> Bodies { get; init; } = [];

    public bool BodyIsOptional { get; init; }

    public IReadOnlyList<Content> Answers { get; init; } = [];

    /// <summary>The statuses of the problems that it may answer with, besides those of every call of its kind.</summary>
    public IReadOnlyList<int> Problems { get; init; } = [];

    /// <summary>Answers a refusal: as this call does it, or with a problem document.</summary>
    public Task AnswerAsync(ProblemAnswers problems, HttpContext context, ProblemException refused) =>
        Refuse is { } refuse ? refuse(context, refused) : problems.AnswerAsync(context, refused);

    /// <summary>A read of what is stored of a user, for the user and for backends.</summary>
    public static Call ReadOfUser(
        string path, string name, string summary, RequestDelegate handle, Type answer, IReadOnlyList<int>? problems = null) =>
        new(HttpMethods.Get, path, name, summary, handle)
        {
            Access = CallAccess.People(Scopes.Users),
            Answers = [Content.Of(answer)],
            Problems = problems ?? [404, 501],
        };

    /// <summary>A change of what is stored of a user, by the user or a backend: a transaction.</summary>
    public static Call ChangeOfUser(
        string method, string path, string name, string summary, RequestDelegate handle, Type? body = null, Type? answer = null,
        IReadOnlyList<int>? problems = null) =>
        new(method, path, name, summary, handle)
        {
            Access = CallAccess.People(Scopes.Users),
            Cost = Aglow.AspNetCore.Access.Cost.Write,
            Bodies = body is null ? [] : [Content.Of(body)],
            Answers = [Content.Of(answer)],
            Problems = problems ?? [404, 501],
        };
}

/// <summary>A query parameter: a whole number, or text.</summary>
internal sealed record QueryParameter(string Name, string Description, bool IsNumber = false, bool Required = false)
{
    public static QueryParameter Definition { get; } = new(Routes.DefinitionQuery, "What \"online\" means; chat where it is not given.");

    public static QueryParameter User { get; } = new(
        Routes.UserParameter, "Any user ID, percent-encoded, also one that cannot stand in a path.");

    public static QueryParameter UserOfPath { get; } = new(
        Routes.UserParameter, $"The user, if the path has {Routes.UserInQuery} in its place: for an ID that cannot stand in a path.");

    public static QueryParameter Viewer { get; } = new(
        Routes.ViewerQuery, "With whose eyes a backend looks; a stranger's where it is not given.");
}

/// <summary>A body or an answer. Without a shape it is bytes; without a content type it is empty.</summary>
internal sealed record Content(string? ContentType = null, Type? Shape = null, int Status = StatusCodes.Status200OK)
{
    /// <summary>JSON of a shape; null: no content.</summary>
    public static Content Of(Type? shape) => shape is null ? new(Status: StatusCodes.Status204NoContent) : new(Routes.Json, shape);
}
