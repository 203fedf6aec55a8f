<?php
require __DIR__ . '/app.php';

if (answer('/', '1.2.3')[1]['version'] !== '1.2.3') {
    fwrite(STDERR, "it does not say its version\n");
    exit(1);
}
if (answer('/health', '1.2.3') !== [200, ['version' => '1.2.3']]) {
    fwrite(STDERR, "the health check does not say the version\n");
    exit(1);
}
