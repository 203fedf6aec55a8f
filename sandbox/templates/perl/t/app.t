use strict;
use warnings;
use Test::More tests => 2;

require './app.pl';

like((answer('/', '1.2.3'))[1], qr/"version": "1\.2\.3"/, 'it says its version');
is((answer('/health', '1.2.3'))[1], '{"version": "1.2.3"}', 'so does the health check');
