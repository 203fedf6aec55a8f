<?php
// The web service of @NAME@: `VERSION=... php -S 0.0.0.0:PORT app.php`.

/** The status and the answer to a request for that path. */
function answer(string $path, string $version): array
{
    if ($path === '/') {
        return [200, ['application' => '@NAME@', 'version' => $version, 'host' => gethostname()]];
    }
    if ($path === '/health') {
        return [200, ['version' => $version]];
    }
    return [404, ['error' => 'no such page']];
}

if (php_sapi_name() === 'cli-server') {
    [$status, $said] = answer(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), getenv('VERSION'));
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($said);
}
